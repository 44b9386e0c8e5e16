// Package cost measures what the ways into a node cost, each beside what it is to be compared with, in the same run and by
// turns: TLS beside plain gRPC and the standard library's AES-GCM, WebSocket beside plain gRPC, both beside upstream's node;
// handshakes beside others' traffic; a scrape of the metrics. It needs a machine that does nothing else, and
// upstream's programs (SLIM_PEERS), and belongs to no run of the tests by itself:
//
//	go test -tags gates ./interop/cost -v -timeout 60m
package cost
