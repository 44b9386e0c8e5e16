package mls

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Kind sorts errors by what the caller can do about them, and is what errors.Is compares with. It is meant for counters
// and logs of this side: nothing of it goes to the peer.
type Kind uint8

// The kinds.
const (
	Malformed    Kind = iota + 1 // the bytes are no message of MLS, or one of another sort than is taken here
	Unsupported                  // well-formed, but of a version, suite, type or extension that is not here
	Limit                        // larger than the configured limits
	WrongGroup                   // for another group
	PastEpoch                    // for an epoch that is over, and not or no longer kept
	FutureEpoch                  // for an epoch that is not yet here: a commit is missing
	BadSignature                 // a signature or MAC does not verify, or a ciphertext does not open
	Replayed                     // the key of this generation is used up
	Invalid                      // authentic, but against the rules: of a key package, leaf, proposal, commit, tree or group info
	Refused                      // against the rules of the application: its callbacks said no
	Missing                      // a key package, pre-shared key, proposal or tree that is needed is not here
	Removed                      // this member is no longer in the group
	Ended                        // the group was ended by a reinit
	CommitDue                    // proposals wait that are committed before data is sent, by this member or another
	Misuse                       // the call does not fit the state of the group
	Own                          // a handshake message that this member sent, byte for byte; or application data that names it as its sender
	Busy                         // as many messages, or saves, are under way as may be: end one of them, and try again
)

// String is a word for it.
func (k Kind) String() string {
	return name(uint16(k), "kind", "", "malformed", "unsupported", "limit", "wrong group", "past epoch", "future epoch", "bad signature", "replayed", "invalid",
		"refused", "missing", "removed", "ended", "commit due", "misuse", "own message", "busy")
}

// Error makes a kind something to compare with: errors.Is(err, mls.Missing).
func (k Kind) Error() string { return k.String() }

// Error is why something was refused. Errors of this package are *Error, except those of Rand and of stores, which
// come through as they are.
type Error struct {
	Kind    Kind
	Section string // of RFC 9420 that asks for the check; may be empty
	What    string // what was wrong, and where
	Cause   error  // may be nil
}

// Error is one line.
func (e *Error) Error() string {
	s := "mls: " + e.What
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	if e.Section != "" {
		s += " (RFC 9420 section " + e.Section + ")"
	}
	return s
}

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && e.Kind == k
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf is the kind of an error of this package, 0 for others.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// otherEpoch is the error about what is of an epoch that is not here, in a group that is in now; past says why not,
// of one that is over.
func otherEpoch(section, what string, epoch, now uint64, past string) error {
	if epoch < now {
		return refuse(PastEpoch, section, "%s of epoch %d, the group is in %d%s", what, epoch, now, past)
	}
	return refuse(FutureEpoch, section, "%s of epoch %d, the group is in %d: a commit before it is missing", what, epoch, now)
}

func refuse(k Kind, section, format string, args ...any) error {
	return &Error{Kind: k, Section: section, What: fmt.Sprintf(format, args...)}
}

func refuseFor(k Kind, section string, cause error, format string, args ...any) error {
	return &Error{Kind: k, Section: section, What: fmt.Sprintf(format, args...), Cause: cause}
}

// within puts where in front of an error of this package and keeps its kind and section.
func within(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	where := fmt.Sprintf(format, args...)
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Section: e.Section, What: where + ": " + e.What, Cause: e.Cause}
	}
	return fmt.Errorf("mls: %s: %w", where, err)
}

// malformed is the error for bytes that did not decode.
func malformed(err error, what string) error {
	var e *Error
	if errors.As(err, &e) {
		return within(e, "%s", what)
	}
	kind := Malformed
	if errors.Is(err, codec.ErrMany) {
		kind = Limit
	}
	return refuseFor(kind, "", err, "%s does not decode", what)
}
