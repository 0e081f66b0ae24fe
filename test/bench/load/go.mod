module outrider/test/bench/load

go 1.23.0
