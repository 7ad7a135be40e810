"""Cross-task linearity: when weights, features and tasks can be averaged."""
