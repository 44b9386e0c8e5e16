package uplink

import (
	"crypto/tls"
	"net"
	"sync"
)

// secure is TLS whose records leave by batches: crypto/tls writes each to the socket, but a batch is many of them. The
// kernel and the node get them with one call, as they get a batch in the clear.
type secure struct {
	*tls.Conn
	under *records
}

// newSecure is TLS over nc, before the handshake.
func newSecure(nc net.Conn, config *tls.Config) *secure {
	under := &records{Conn: nc}
	return &secure{tls.Client(under, config), under}
}

// Write implements net.Conn. After an error it says so for ever, as tls.Conn does.
func (s *secure) Write(b []byte) (int, error) {
	s.under.gather()
	n, err := s.Conn.Write(b)
	if late := s.under.flush(); err == nil && late != nil {
		return 0, late
	}
	return n, err
}

// mostGathered is how many bytes of records are written at once, but for the last record.
const mostGathered = 64 << 10

// records is the socket under TLS. Safe for all: the reader writes, too, such as answers to key updates.
type records struct {
	net.Conn

	mu        sync.Mutex
	gathering bool   // a batch is being written; guarded by mu
	out       []byte // records of it; guarded by mu
	err       error  // of a write: a record may have been cut, and nothing follows it; guarded by mu
}

// gather has Write keep what it gets.
func (r *records) gather() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = true
}

// flush ends gather, and writes what is kept.
func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = false
	r.write()
	return r.err
}

// Write implements net.Conn.
func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out = append(r.out, p...); !r.gathering || len(r.out) >= mostGathered {
		r.write()
	}
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// write writes what is kept. mu is held: what crypto/tls has sealed in order leaves in order.
func (r *records) write() {
	if r.err == nil && len(r.out) > 0 {
		_, r.err = r.Conn.Write(r.out)
	}
	r.out = r.out[:0]
}
