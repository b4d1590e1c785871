module serviceentry-guard/tests/bed/pause

go 1.26.0
