module serviceentry-guard/tests/bed/idle

go 1.26.0
