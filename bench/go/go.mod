module openwork/bench

go 1.22
