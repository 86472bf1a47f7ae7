"""Training with few weights from start to finish, while their positions change."""
