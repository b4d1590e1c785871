module serviceentry-guard/tests/bed/crds

go 1.26.0
