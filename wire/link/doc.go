// Package link negotiates a SLIM link.
//
// A Machine takes part in the exchange of the two Link messages that open every connection and yields the key of the
// header MAC (package mac). It reads no clock, starts no goroutine and holds no socket: the owner of the connection
// feeds bytes in, sends the bytes that come out, and keeps the time limit.
//
//	dialer                                   acceptor
//	New, Start -> request  ----------------->  New, Step(request) -> reply
//	Step(reply)            <-----------------  Result
//	Result
//
// Every state is left at most once: a machine that has failed, or has its Result, takes no further message.
package link
