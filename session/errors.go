package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// Errors that callers test for with errors.Is.
var (
	// ErrClosed: the session, the listener or the app is closed. It is a net.ErrClosed, too.
	ErrClosed = group.ErrClosed
	// ErrRemoved: the moderator has removed this member. It is an ErrClosed, too.
	ErrRemoved = group.ErrRemoved
	// ErrPeerGone: the other one of a session of two was offline for too long (Options.PeerTimeout). It is an ErrClosed, too.
	ErrPeerGone = group.ErrPeerGone
	// ErrTimeout: who was asked has not answered, as often as it was asked.
	ErrTimeout = group.ErrNoAnswer
	// ErrNotMember: it is not a member of the session.
	ErrNotMember = group.ErrNotMember
	// ErrNoName: the app is not subscribed to that name.
	ErrNoName = errors.New("the app has no such name")
	// ErrMember: it is a member of the session already.
	ErrMember = group.ErrMember
	// ErrNotModerator: only who has opened the session may invite and remove.
	ErrNotModerator = group.ErrNotModerator
	// ErrPointToPoint: what can be done in a group only.
	ErrPointToPoint = group.ErrPointToPoint
	// ErrBusy: this member is being suspended or resumed, or is so already.
	ErrBusy = group.ErrBusy
	// ErrUnauthorized: the node, another member, or this app itself does not believe an identity.
	ErrUnauthorized = errors.New("identity is not accepted")
	// ErrNotDelivered: not everybody has taken the message; a *NotDelivered says who has not.
	ErrNotDelivered = errors.New("not delivered")
	// ErrDeclined: who was invited does not want to come; a *Declined says why.
	ErrDeclined = errors.New("the invitation is declined")
	// ErrTooLarge: a message that no node takes.
	ErrTooLarge = errors.New("the message is too large")
	// ErrListening: there is a listener already.
	ErrListening = errors.New("the app has a listener already")
	// ErrStore: the store does not take what a session has to keep, or does not give it back. The session ends in this process, without
	// a word to others, and goes on from what is stored when the app is started again. It is an ErrClosed, too.
	ErrStore = fmt.Errorf("%w: its store has failed", ErrClosed)
	// ErrStopped: the app was stopped by App.Stop, or the node in its process has been shut down. It is an ErrClosed, too.
	ErrStopped = fmt.Errorf("%w: the app is stopped", ErrClosed)
	// ErrConfig: options that cannot be.
	ErrConfig = errors.New("options are wrong")
)

var errMirror = errors.New("the session is one of this app with itself")

// NotDelivered says who has not taken a message: those who have not acknowledged it although it was repeated, who were
// removed, or who went offline meanwhile. It is an ErrNotDelivered. They may have got it all the same.
type NotDelivered struct{ Missing []Name }

// Error implements error.
func (e *NotDelivered) Error() string {
	names := make([]string, len(e.Missing))
	for i, n := range e.Missing {
		names[i] = n.String()
	}
	return "not delivered to " + strings.Join(names, ", ")
}

// Is makes it an ErrNotDelivered.
func (e *NotDelivered) Is(target error) bool { return target == ErrNotDelivered }

// Declined says why an invitation was declined. It is an ErrDeclined.
type Declined struct{ Reason string }

// Error implements error.
func (e *Declined) Error() string {
	if e.Reason == "" {
		return ErrDeclined.Error()
	}
	return fmt.Sprintf("%v: %q", ErrDeclined, e.Reason)
}

// Is makes it an ErrDeclined.
func (e *Declined) Is(target error) bool { return target == ErrDeclined }

// public returns what the app gets to see of an error of the machines.
func public(err error) error {
	var lost *group.NotDelivered
	var declined *group.Declined
	switch {
	case err == nil:
		return nil
	case errors.As(err, &lost):
		e := &NotDelivered{Missing: make([]Name, len(lost.Missing))}
		for i := range lost.Missing {
			e.Missing[i] = Name{lost.Missing[i]}
		}
		return e
	case errors.As(err, &declined):
		return &Declined{declined.Reason}
	case errors.Is(err, group.ErrRefusedJoiner):
		return fmt.Errorf("%w: %w", ErrUnauthorized, err)
	case errors.Is(err, reliable.ErrUnknown):
		return ErrNotMember
	}
	return err
}

// refusedByNode reports whether an error of connecting is one that another attempt does not mend: the node does not accept
// who calls.
func refusedByNode(err error) bool {
	var status *uplink.StatusError
	var upgrade *ws.HandshakeError
	return errors.As(err, &status) && (status.HTTP == 401 || status.HTTP == 403 || status.GRPC == 16 || status.GRPC == 7) ||
		errors.As(err, &upgrade) && (upgrade.Status == 401 || upgrade.Status == 403)
}
