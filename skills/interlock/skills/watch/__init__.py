"""What the fork server looks after while runs are on their way, and what it cleans up behind them."""
