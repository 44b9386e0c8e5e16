package link

import (
	"errors"
	"fmt"
)

// ErrOver is what a machine answers, inside a LocalError, once it has failed or has its Result.
var ErrOver = errors.New("negotiation is over")

// Reason says why the peer's message was refused. It is for counters and logs; the peer is told nothing.
type Reason uint8

const (
	_                    Reason = iota
	ReasonUndecodable           // no protobuf of this schema
	ReasonNotNegotiation        // another message, or a link without link_type
	ReasonKEM                   // ML-KEM payload of the wrong length or absent, where PQC is enforced
	ReasonDirection             // a reply for the acceptor, a request for the dialer
	ReasonVersion               // slim_version is no semantic version
	ReasonNoKey                 // no X25519 key, where the link must be signed
	ReasonLinkID                // link_id empty, or for the dialer not its own
	ReasonTooLong               // a text of more than 4096 bytes
	ReasonAgreement             // the peer's keys yield no shared secret
	numReasons
)

var reasonNames = [numReasons]string{"none", "undecodable", "not_negotiation", "kem", "direction", "version", "no_key",
	"link_id", "too_long", "agreement"}

func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// PeerError says that the peer's message was refused. The machine is over; the connection is to be closed without a
// word (P-neg-7).
type PeerError struct {
	Reason Reason
	Err    error // cause; may be nil
}

func (e *PeerError) Error() string {
	if e.Err == nil {
		return "link: peer refused: " + e.Reason.String()
	}
	return "link: peer refused: " + e.Reason.String() + ": " + e.Err.Error()
}

func (e *PeerError) Unwrap() error { return e.Err }

// LocalError says that this side is at fault: its Config, its source of randomness, or a call out of turn (ErrOver).
// The machine is over.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return "link: " + e.Err.Error() }

func (e *LocalError) Unwrap() error { return e.Err }

func refuse(r Reason, err error) error { return &PeerError{Reason: r, Err: err} }

func local(format string, args ...any) error { return &LocalError{Err: fmt.Errorf(format, args...)} }
