// Package link negotiates a SLIM link and keeps its header MAC.
//
// A Machine takes part in the exchange of the two Link messages that open every connection; a MAC signs and checks the
// header of every message behind them on edge and remote links. Neither reads a clock, starts a goroutine or holds a
// socket: the owner of the connection feeds bytes in, sends the bytes that come out, and keeps the time limit.
//
//	dialer                                   acceptor
//	New, Start -> request  ----------------->  New, Step(request) -> reply
//	Step(reply)            <-----------------  Result
//	Result
//
// Every state is left at most once: a machine that has failed, or has its Result, takes no further message.
package link
