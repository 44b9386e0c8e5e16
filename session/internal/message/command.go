package message

import "github.com/seed31b3bfd0/slimgo/wire"

// Command is the content of a control message: one of the pointer types of this file.
type Command interface {
	// of is the type of message that carries it.
	of() Type
	appendTo(dst []byte) []byte
	decode(f *fields)
}

// Empty is the command of the types whose content says no more than that: DiscoveryRequest, DiscoveryReply, LeaveRequest,
// LeaveReply, GroupAck, GroupNack.
type Empty Type

// Join is the command of a JoinRequest: what the session is like.
type Join struct {
	Timers  *Timers        // nil: data is not acknowledged
	Channel *wire.NameText // of a group: where its data goes
	Control *wire.NameText // of a group: where its control messages go
	MLS     *MLSSettings   // nil: MLS is off
}

// Timers are those of reliable data.
type Timers struct {
	Timeout uint32 // milliseconds until it is sent again
	Retries uint32
}

// MLSSettings are present where MLS is on.
type MLSSettings struct {
	Percent uint32 // of messages whose header a receiver compares with what was authenticated
}

// Joined is the command of a JoinReply.
type Joined struct {
	KeyPackage  []byte // MLSMessage; nil: MLS is off. Lent
	Participant Participant
}

// Participant is a member as others are told of it.
type Participant struct {
	Name            wire.NameText
	Sends, Receives bool // application data
	Offline         bool
}

// Handshake is a message of MLS with the number that the moderator gave the commit behind it.
type Handshake struct {
	Commit  uint32 // 1 and up
	Content []byte // MLSMessage; lent
}

// Op says what a GroupUpdate does to the roster.
type Op uint8

const (
	OpAdd Op = iota
	OpRemove
	OpRejoin
)

// Update is the command of a GroupUpdate.
type Update struct {
	Op          Op
	Participant Participant   // who comes, goes or is back
	Roster      []Participant // with the moderator; with OpRemove, also who goes
	MLS         *Handshake    // a Commit; nil: MLS is off
}

// Welcome is the command of a GroupWelcome.
type Welcome struct {
	Roster []Participant
	MLS    *Handshake // a Welcome; nil: MLS is off
}

// Close is the command of a GroupClose.
type Close struct {
	Participants []wire.NameText
}

// Proposal is the command of a GroupProposal, which no known peer sends.
type Proposal struct {
	Source   wire.NameText
	Proposal []byte // lent
}

// Beat is the command of a Heartbeat.
type Beat struct {
	Epoch uint64 // of MLS; NoEpoch: MLS is off
}

// NoEpoch stands for the epoch of a group without MLS.
const NoEpoch = 1<<64 - 1

// State is the command of an UpdateState.
type State struct {
	Participant wire.NameText
	Offline     bool
	Epoch       uint64
}

// Rejoin is the command of a RejoinRequest.
type Rejoin struct {
	Participant wire.NameText
	KeyPackage  []byte // lent
}

// Rejoined is the command of a RejoinReply: a Welcome.
type Rejoined struct {
	Handshake
}

func (e *Empty) of() Type  { return Type(*e) }
func (*Join) of() Type     { return JoinRequest }
func (*Joined) of() Type   { return JoinReply }
func (*Update) of() Type   { return GroupUpdate }
func (*Welcome) of() Type  { return GroupWelcome }
func (*Close) of() Type    { return GroupClose }
func (*Proposal) of() Type { return GroupProposal }
func (*Beat) of() Type     { return Heartbeat }
func (*State) of() Type    { return UpdateState }
func (*Rejoin) of() Type   { return RejoinRequest }
func (*Rejoined) of() Type { return RejoinReply }

// newCommand returns an empty command of type t, which is one of control.
func newCommand(t Type) Command {
	switch t {
	case JoinRequest:
		return new(Join)
	case JoinReply:
		return new(Joined)
	case GroupUpdate:
		return new(Update)
	case GroupWelcome:
		return new(Welcome)
	case GroupClose:
		return new(Close)
	case GroupProposal:
		return new(Proposal)
	case Heartbeat:
		return new(Beat)
	case UpdateState:
		return new(State)
	case RejoinRequest:
		return new(Rejoin)
	case RejoinReply:
		return new(Rejoined)
	}
	e := Empty(t)
	return &e
}
