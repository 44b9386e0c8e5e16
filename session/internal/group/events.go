package group

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Handle is what the caller knows a command by; nil: nobody waits for its result.
type Handle any

// Event is something that happens to a session.
type Event interface{ event() }

// Inbound is a message for the session.
type Inbound struct {
	Message *message.Message // of data: lent until Step returns, but for what it points to; of control: the session's
	Claims  *identity.Claims // of its token, of control messages; nil: it is not believed
	Why     error            // of nil Claims
	At      time.Time
	Size    int     // of the encoded message, in bytes: what holds any of it counts for that
	Full    bool    // the app takes no data now: data is decrypted, so that what follows can be, and not taken
	More    bool    // of data: another event follows at once, Rest if there is nothing else, and acknowledgements may wait for it
	Rounds  int     // how often it was Unjudged; the caller's
	Sealed  *Sealed // of data that was prepared for its Step; nil: it was not

	Believed bool // set by Step: it is of who it says, and is new. Plain data never is
}

// Publish sends to everybody else. It is lent until Step returns.
type Publish struct {
	Payload reliable.Payload
	Handle  Handle
}

// PublishTo sends to one member, in no order.
type PublishTo struct {
	To      wire.NameText
	Payload reliable.Payload
	Handle  Handle
}

// Invite adds a member. Only a moderator does.
type Invite struct {
	Name   wire.NameText // with an id, or the null id: any instance
	Pin    string        // subject that its token must have; empty: any
	Handle Handle
}

// Remove takes a member out. Only a moderator does.
type Remove struct {
	Name   wire.NameText
	Handle Handle
}

// Withdraw takes back an Invite whose handle this is, as long as the one invited has not answered.
type Withdraw struct{ Handle Handle }

// Leave ends the session: for all, if it is the moderator's.
type Leave struct{ Handle Handle }

// Abandon ends the session at once, for this member: nobody is told.
type Abandon struct{}

// Subscribed says what became of an output Subscribe.
type Subscribed struct {
	Name wire.NameText
	Err  error
}

// Disconnected says that the connection to the node is lost; Reconnected follows.
type Disconnected struct{}

// Reconnected says that the connection to the node had been lost, and is back with its subscriptions.
type Reconnected struct{}

// Sent says what has become of outputs Send that name what they are copies of: of each of them, once. It is borrowed.
type Sent struct{ Copies []SentCopy }

// SentCopy is one of them.
type SentCopy struct {
	Of   any // Send.Of
	Fate reliable.Fate
}

// Tick says that the deadline has come.
type Tick struct{}

// Rest says that there is nothing more for now.
type Rest struct{}

func (*Inbound) event()     {}
func (*Publish) event()     {}
func (PublishTo) event()    {}
func (Invite) event()       {}
func (Remove) event()       {}
func (Withdraw) event()     {}
func (Leave) event()        {}
func (Abandon) event()      {}
func (Subscribed) event()   {}
func (Disconnected) event() {}
func (Reconnected) event()  {}
func (*Sent) event()        {}
func (Tick) event()         {}
func (Rest) event()         {}

// Output is something that a session wants done.
type Output interface{ output() }

// Send is a message, signed and encrypted as it has to be. What is awaited in answer is awaited from the time when it has left, which
// the event Sent tells. Lent: see Recycle.
type Send struct {
	Message *message.Message
	Of      any // for Sent; nil: it is not to be told of
}

// Subscribe asks the node for messages to a name; the event Subscribed follows.
type Subscribe struct{ Name wire.NameText }

// Unsubscribe takes that back. Nothing follows.
type Unsubscribe struct{ Name wire.NameText }

// Deliver hands a message to the app. Lent: see Recycle.
type Deliver struct{ Received *Received }

// Resolve says what became of a command.
type Resolve struct {
	Handle Handle
	Err    error
}

// Delivered is Resolve of data that all have who were to get it, and where nothing is acknowledged, of data that has been sent.
// Lent: see Recycle.
type Delivered struct{ Messages *[]Handle }

// Notify tells the app of something.
type Notify struct{ Notice Notice }

// Anew is an invitation to a session that is over here: it is one to a new session of the same id.
type Anew struct{ Invitation Inbound }

// Unjudged is a message that cannot be looked at before these tokens, which are in it, are judged. It is to come again then, and what its
// sender has said after it has to wait.
type Unjudged struct {
	Inbound Inbound
	Tokens  []string
}

// End is the last output of a session: it is over, for this reason, or in an orderly way if it is nil. What comes after that is
// answered, if it has to be, with Send, Resolve and Anew.
type End struct{ Err error }

func (Send) output()        {}
func (Subscribe) output()   {}
func (Unsubscribe) output() {}
func (Deliver) output()     {}
func (Resolve) output()     {}
func (Delivered) output()   {}
func (Notify) output()      {}
func (Anew) output()        {}
func (Unjudged) output()    {}
func (End) output()         {}

// Received is application data.
type Received struct {
	Source, Dest wire.NameText
	ID           uint32
	Direct       bool   // for this member alone, in no order
	Subject      string // whom MLS has verified it to be from; empty: nobody has
	Identity     string // token that came with it, not verified
	Payload      reliable.Payload
	Size         int // what it counts for where it waits, in bytes: all that it came with is held with it
}

// Notice is something that an app may want to know.
type Notice interface{ notice() }

// Joined says that a member has come.
type Joined struct{ Name wire.NameText }

// Left says that a member has gone for good.
type Left struct{ Name wire.NameText }

// Presence says that a member is not there for the time being, or is back.
type Presence struct {
	Name   wire.NameText
	Online bool
}

// Renewed says that a commit has brought others a new token of this member, which becomes void then.
type Renewed struct{ Expires time.Time }

// Lost says that messages of a member will not come.
type Lost struct {
	From        wire.NameText
	First, Last uint32
	Why         reliable.Loss
}

// Refused says that a message was not accepted.
type Refused struct {
	From wire.NameText
	Type message.Type
	Err  error
}

// Unsigned says that a control message was looked at which has no payload signature.
type Unsigned struct {
	From wire.NameText
	Type message.Type
}

func (Joined) notice()   {}
func (Left) notice()     {}
func (Presence) notice() {}
func (Renewed) notice()  {}
func (Lost) notice()     {}
func (Refused) notice()  {}
func (Unsigned) notice() {}

// Machine is a session's member.
type Machine interface {
	// Screen says of a control message, before its token is judged, whether it is to be looked at at all. If not, why is nil where
	// nobody has to hear of that.
	Screen(m *message.Message, now time.Time) (why error, take bool)
	// Prepare decrypts data ahead of its Step, so that its signature can be verified meanwhile: by Sealed.Verify. What it returns is part
	// of the Inbound then, which comes in the order in which data was prepared. nil: its Step does it all.
	Prepare(m *message.Message) *Sealed
	// Step takes an event at this time.
	Step(ev Event, now time.Time)
	// Take returns what is to be done, and forgets it. The list is lent until the next Take.
	Take() []Output
	// Recycle takes an output back that is done, and will use again what it points to. Not to call it costs memory.
	Recycle(o Output)
	// Deadline is when a Tick is due; zero: never.
	Deadline() time.Time
	// Epoch is that of the MLS group; message.NoEpoch: there is none.
	Epoch() uint64
	// Roster is everybody who is in the session, this member included, in the order in which they came; borrowed.
	Roster() []message.Participant
	// Version is another one whenever what Roster returns has changed.
	Version() uint64
	// Changes returns what has to be stored before the outputs that there are now are applied; none: nothing.
	Changes() ([]Record, error)
	// Stored says that it is. Meanwhile other events may have come.
	Stored() error
}
