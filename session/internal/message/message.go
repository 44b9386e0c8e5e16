package message

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Kind is the kind of a session.
type Kind uint8

const (
	PointToPoint Kind = 1
	Group        Kind = 2
)

func (k Kind) String() string {
	switch k {
	case PointToPoint:
		return "point-to-point"
	case Group:
		return "group"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Type says what a message is for.
type Type uint8

const (
	Msg Type = iota + 1 // data
	MsgAck
	RtxRequest
	RtxReply
	DiscoveryRequest // from here on: control
	DiscoveryReply
	JoinRequest
	JoinReply
	LeaveRequest
	LeaveReply
	GroupUpdate
	GroupWelcome
	GroupClose
	GroupProposal
	GroupAck
	GroupNack
	Heartbeat
	UpdateState
	RejoinRequest
	RejoinReply

	lastType = RejoinReply
)

var typeNames = [...]string{"", "msg", "msg_ack", "rtx_request", "rtx_reply", "discovery_request", "discovery_reply", "join_request",
	"join_reply", "leave_request", "leave_reply", "group_update", "group_welcome", "group_close", "group_proposal", "group_ack",
	"group_nack", "heartbeat", "update_participant_state", "rejoin_request", "rejoin_reply"}

func (t Type) String() string {
	if t == 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return typeNames[t]
}

// Control reports whether messages of this type are signed and have a command for content; the others are data.
func (t Type) Control() bool { return t >= DiscoveryRequest && t <= lastType }

// Message is one message of a session. As a result of Decode it lends parts of the input where a field says so.
type Message struct {
	Source, Dest wire.NameText
	Identity     string // token of the sender
	Version      string // software of the sender, for people
	Fanout, TTL  uint32
	Failed       bool   // an RtxReply that has nothing: what was asked for is gone
	Signature    []byte // e2e_header_sig, see AppendAAD; lent

	Kind        Kind
	Type        Type
	Session, ID uint32

	PayloadType string  // of data
	Blob        []byte  // of data: plain, or an MLSMessage; lent
	Command     Command // of control

	Metadata map[string]string // nil: none

	// Content is the encoded content as it came, which is what a payload signature covers; lent. AppendSigned encodes anew
	// if it is nil.
	Content []byte
}

// Bounds of what Decode accepts, beyond the size of the message itself. An entry of either kind takes a few bytes on the
// wire and a hundred in memory.
const (
	MaxMetadata     = 4096
	MaxParticipants = 16384
)

// Why bytes are no message of a session. Errors of Decode wrap one of them.
var (
	ErrForm    = errors.New("not what protobuf allows")
	ErrKind    = errors.New("not a publish")
	ErrMissing = errors.New("field missing")
	ErrTwice   = errors.New("occurs twice")
	ErrType    = errors.New("content does not fit the message's type")
	ErrBound   = errors.New("too many entries")
)

// Error says which field of a message is wrong.
type Error struct {
	Field string // path in the protocol buffer definition, such as message.publish.header.source
	Err   error
}

func (e *Error) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
