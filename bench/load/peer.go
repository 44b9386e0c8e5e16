package load

import (
	"context"
	"crypto/tls"
	"fmt"
)

// Address is a name to publish or subscribe to, in terms that every protocol can express.
type Address struct {
	Parts [3]string
	ID    uint64 // one instance of the name; 0: the name as a whole (SLIM: null id)
}

// String returns a/b/c or a/b/c#id.
func (a Address) String() string {
	s := a.Parts[0] + "/" + a.Parts[1] + "/" + a.Parts[2]
	if a.ID != 0 {
		s = fmt.Sprintf("%s#%d", s, a.ID)
	}
	return s
}

// Identity says what a message carries to prove who sent it.
type Identity string

const (
	Constant Identity = "constant" // the same text in each message: a header repeats byte for byte
	Fresh    Identity = "fresh"    // a new text in each message: each header is hashed anew
)

// Message describes what a Publisher sends.
type Message struct {
	Sender       uint32
	From         Address
	To           []Address // taken in turn; at least one
	All          bool      // to every subscriber, not to one of them
	Size         int       // payload bytes, StampSize or more
	Sizes        []int     // of the messages in turn, instead of Size; none: all are of that
	Identity     Identity
	IdentitySize int // characters
}

// Publisher sends stamped messages over one connection. One goroutine uses it.
type Publisher interface {
	// Send hands n messages with the numbers from first on to the socket and returns when it has them all. Message i is
	// stamped with the time at+i*step. It blocks while the node takes nothing.
	Send(first uint64, n int, at, step int64) error
	// Waited is how long, in nanoseconds, all calls of Send have blocked so far.
	Waited() int64
}

// Sink takes what a connection receives. All calls come from the connection's reading goroutine.
type Sink interface {
	Begin(now int64)    // a read returned at this time
	Deliver(msg []byte) // a message whose end is the end of the payload; borrowed until return
	Flush()             // the read is used up
}

// Conn is a client's connection, ready for use.
type Conn interface {
	// Subscribe returns when the node has confirmed all names. At most outstanding wait for their confirmation at a
	// time (0: a default). Done is how many were confirmed, also with an error.
	Subscribe(ctx context.Context, n, outstanding int, at func(i int) Address) (done int, err error)
	Unsubscribe(ctx context.Context, n, outstanding int, at func(i int) Address) (done int, err error)
	Publisher(m Message) (Publisher, error)
	// Pace sets how fast the connection reads: bytes a second, 0 not at all, negative without limit (the default).
	Pace(bytesPerSecond int)
	// Err is why the connection ended; nil while it lives.
	Err() error
	Close() error
}

// DialOptions tune a connection. The zero value is right for traffic.
type DialOptions struct {
	Sink       Sink        // nil: what arrives is dropped
	ReadBuffer int         // bytes taken by one read; 0: 64 KiB. Idle connections take less
	TLS        *tls.Config // of a node that was started; nil: the dialer's
}

// Protocols whose peers differ in what can be asked of them.
const (
	SLIM  = "slim"
	Blind = "blind" // of the relay in bench/relay: SLIM's messages byte for byte, but no names
)

// Dialer opens connections of one protocol.
type Dialer interface {
	Dial(ctx context.Context, addr string, o DialOptions) (Conn, error)
	Protocol() string
}
