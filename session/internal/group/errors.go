package group

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Errors of commands.
var (
	ErrClosed        = error(closed{})
	ErrNotModerator  = errors.New("only who has opened the session may do that")
	ErrPointToPoint  = errors.New("a session between two has no other members")
	ErrMember        = errors.New("it is a member already")
	ErrNotMember     = errors.New("it is not a member")
	ErrNoAnswer      = errors.New("it does not answer")
	ErrBusy          = errors.New("this member is going or coming, or where it is to go already")
	ErrRefusedJoiner = errors.New("its answer is not acceptable")
	ErrWithdrawn     = errors.New("the invitation was withdrawn")
)

// closed is ErrClosed, which is a net.ErrClosed, too, and reads better.
type closed struct{}

func (closed) Error() string        { return "the session is closed" }
func (closed) Is(target error) bool { return target == net.ErrClosed }

// Declined says that who was invited does not want to come.
type Declined struct{ Reason string }

func (e *Declined) Error() string { return "it declines: " + strconv.Quote(e.Reason) }

// NotDelivered says that a message was not taken by everybody whom it was for.
type NotDelivered struct{ Missing []wire.NameText }

func (e *NotDelivered) Error() string {
	names := make([]string, len(e.Missing))
	for i := range e.Missing {
		names[i] = e.Missing[i].String()
	}
	return "not delivered to " + strings.Join(names, ", ")
}

// Why messages are refused.
var (
	errUnverified     = errors.New("token is not believed")
	errForeignID      = errors.New("the id of its source is not that of its token's subject")
	errUnsigned       = errors.New("payload is not signed")
	errReplay         = errors.New("it has come before")
	errPace           = errors.New("more of its sender come in a second than are looked at")
	errStale          = errors.New("it was said before its sender's last invitation")
	errCrowd          = errors.New("it names more members than a group may have")
	errNoID           = errors.New("message id is zero")
	errStranger       = errors.New("its source is not a member")
	errOtherName      = errors.New("this member is in the session under another name")
	errUnexpected     = errors.New("nobody waits for it")
	errNotModer       = errors.New("only the moderator may say that")
	errWrongLeaf      = errors.New("its source is not the member that has encrypted it")
	errNoMLS          = errors.New("the part that MLS needs is missing")
	errNoRoom         = errors.New("there is no room for it now")
	errNoChannel      = errors.New("the invitation names no channel")
	errForeignChannel = errors.New("the channel is not one of its moderator")
	errNotReceiver    = errors.New("this member does not receive data")
)
