package table

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Errors of Remove, tested with errors.Is. The texts of what Remove returns are upstream's, word for word, since
// clients log them from the failed ack.
var (
	ErrNoPrefix = errors.New("subscription not found")
	ErrNoID     = errors.New("id not found")
	ErrNoRecord = errors.New("subscription id not found")
)

// ErrKind is returned by Add for a kind that does not exist: a fault of the caller.
var ErrKind = errors.New("table: no such kind of connection")

// noID says that nobody holds this id of an existing prefix. It is an ErrNoID.
type noID struct{ name wire.Name }

func (e *noID) Error() string {
	return ErrNoID.Error() + ": " + wire.FormatID(e.name.Hi, e.name.Lo)
}

// Is makes e an ErrNoID.
func (e *noID) Is(target error) bool { return target == ErrNoID }

// noRecord says that the connection has no such subscription to a name somebody holds. It is an ErrNoRecord.
type noRecord struct{ sid uint64 }

func (e *noRecord) Error() string { return fmt.Sprintf("%v: %d", ErrNoRecord, e.sid) }

// Is makes e an ErrNoRecord.
func (e *noRecord) Is(target error) bool { return target == ErrNoRecord }
