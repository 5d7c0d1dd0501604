"""What every experiment needs: files, images, runs, statistics. Imports no wing and knows no paper."""
