// Package nats is a client of the NATS text protocol for load: as light as bench/client is for SLIM, so that a
// comparison of nodes is not one of client libraries. It knows CONNECT, PING, PONG, SUB, UNSUB, PUB and MSG.
// Source: the public protocol description of nats.io, "Client Protocol".
package nats
