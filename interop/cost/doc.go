// Package cost measures what a node and the ways into it cost, each beside what it is to be compared with, in the same run and
// by turns: messages beside upstream's node and a NATS server; TLS beside plain gRPC and the standard library's AES-GCM,
// WebSocket beside plain gRPC, both beside upstream's node; handshakes, and sessions of apps in the process, beside others' traffic;
// a scrape of the metrics; sessions of apps beside those of upstream's library. It needs a machine that does nothing else, upstream's
// programs (SLIM_PEERS) and a nats-server in the path, and belongs to no run
// of the tests by itself:
//
//	go test -tags gates ./interop/cost -v -timeout 90m
package cost
