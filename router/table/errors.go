package table

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Errors of Remove, tested with errors.Is. The texts of what Remove returns are upstream's, word for word, since clients log
// them from the failed ack.
var (
	ErrNoPrefix = errors.New("subscription not found")
	ErrNoID     = errors.New("id not found")
	ErrNoRecord = errors.New("subscription id not found")
	ErrNoConn   = errors.New("connection id not found")
)

// ErrKind is returned by Add for a kind that does not exist: a fault of the caller.
var ErrKind = errors.New("table: no such kind of connection")

// NoID says that nobody holds this id of an existing prefix. It is an ErrNoID.
type NoID struct{ Name wire.Name }

func (e *NoID) Error() string {
	return ErrNoID.Error() + ": " + wire.FormatID(e.Name.Hi, e.Name.Lo)
}

// Is makes e an ErrNoID.
func (e *NoID) Is(target error) bool { return target == ErrNoID }

// NoRecord says that the connection has no such subscription to a name somebody holds. It is an ErrNoRecord.
type NoRecord struct{ SubID uint64 }

func (e *NoRecord) Error() string { return fmt.Sprintf("%v: %d", ErrNoRecord, e.SubID) }

// Is makes e an ErrNoRecord.
func (e *NoRecord) Is(target error) bool { return target == ErrNoRecord }

// NoConn is for callers that number connections, as this package does not. It is an ErrNoConn.
type NoConn struct{ Index uint64 }

func (e *NoConn) Error() string { return fmt.Sprintf("%v: %d", ErrNoConn, e.Index) }

// Is makes e an ErrNoConn.
func (e *NoConn) Is(target error) bool { return target == ErrNoConn }
