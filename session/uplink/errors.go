package uplink

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Errors that callers test for with errors.Is.
var (
	// ErrClosed: the connection was closed by this side.
	ErrClosed = fmt.Errorf("uplink: closed: %w", net.ErrClosed)
	// ErrFull: TrySend found no room. Nothing was sent.
	ErrFull = errors.New("uplink: the queue is full")
	// ErrTooLarge: a message that no node takes. Nothing was sent.
	ErrTooLarge = fmt.Errorf("uplink: message of more than %d bytes", MaxMessage)
	// ErrEnded: the node ended the channel with status 0, as it does when it stops, or was sent what is no message.
	ErrEnded = errors.New("the node ended the channel")
	// ErrOver: the node in this process has been shut down, and does not come back. Nothing was sent.
	ErrOver = errors.New("uplink: the node in this process has been shut down")
	// ErrUnsent: Close could not get rid of what had been accepted.
	ErrUnsent = errors.New("uplink: ended before the node had taken everything")
)

// Fault says whose doing an error is.
type Fault uint8

const (
	// Ours: options, or a message, that no node would take.
	Ours Fault = iota
	// Network: bytes did not come through, or not in time.
	Network
	// Node: it refused, ended the channel, or broke the protocol.
	Node
)

// String names the one at fault.
func (f Fault) String() string {
	switch f {
	case Network:
		return "network"
	case Node:
		return "node"
	}
	return "this side"
}

// Error is why a connection did not come about, or has ended, without Close or Abort. The causes below it can be
// tested for: ErrEnded, *StatusError, *link.PeerError, *h2.ConnError, errors of package net, context errors.
type Error struct {
	Fault Fault
	Doing string // what was going on: "connecting", "opening the channel", "negotiating the link", "reading", …
	Addr  string // of the node, as it was dialled
	Err   error

	setup setup // for Advice
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("uplink %s: %s: %v", e.Addr, e.Doing, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusError is the status with which a node refused the channel, or ended it.
type StatusError struct {
	HTTP    int    // 0: it gave none
	GRPC    int    // -1: it gave none
	Message string // of the node, cut at 1 KiB
}

// Error implements error.
func (e *StatusError) Error() string {
	s := "gRPC status " + strconv.Itoa(e.GRPC)
	if e.HTTP != 200 || e.GRPC < 0 {
		s = "HTTP status " + strconv.Itoa(e.HTTP)
	}
	if e.Message != "" {
		s += fmt.Sprintf(": %q", e.Message)
	}
	return "the node ended the channel with " + s
}

// NameError says that the node refused a name, or its withdrawal.
type NameError struct {
	ID     uint64 // of the subscription
	Reason string // the node's, cut at 1 KiB; may be empty
}

// Error implements error.
func (e *NameError) Error() string {
	return fmt.Sprintf("uplink: the node refused subscription %d: %q", e.ID, e.Reason)
}

const maxText = 1 << 10 // bytes of a node's text that an error keeps

func cut(s string) string { return s[:min(len(s), maxText)] }
