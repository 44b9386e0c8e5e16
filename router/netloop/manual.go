package netloop

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Manual is a loop without threads, poller and clock: its owner makes it turn, gives its sockets what they read and
// lets them write. Tests play every order of events with it.
type Manual struct {
	*Loop
	woken   atomic.Bool
	blocked []*Socket
}

// NewManual returns a manual loop of that index.
func NewManual(index int, owner func(*Loop) Owner) *Manual {
	m := &Manual{}
	m.Loop = &Loop{engine: &Engine{ready: (*manualReadiness)(m)}, index: index, manual: true, stock: pool.NewLocal(),
		live: map[*Socket]struct{}{}}
	m.Loop.station = pool.NewStation(func() { m.woken.Store(true) })
	m.Loop.owner = owner(m.Loop)
	return m
}

// Woken reports whether the loop was woken since its last turn.
func (m *Manual) Woken() bool { return m.woken.Load() }

// RunTurn is a turn of the loop.
func (m *Manual) RunTurn() {
	m.woken.Store(false)
	m.turn()
}

// RunTick is the tick of a moment.
func (m *Manual) RunTick(now time.Time) {
	nested := m.enter(nil)
	defer m.leave(nil, nested)
	m.owner.Tick(now)
}

// Attach makes a socket of descriptor fd, which stays the caller's and must not block.
func (m *Manual) Attach(fd int, h Handler) *Socket {
	return m.attach(&Socket{loop: m.Loop, handler: h, fd: fd, remote: manualAddr}, h)
}

// AttachTLS is Attach with TLS, after a handshake on c, in which nothing else may come. From then on fd is what is
// written to.
func (m *Manual) AttachTLS(fd int, c net.Conn, config *tls.Config, h Handler) (*Socket, error) {
	s, err := shake(c, false, config, make(chan struct{}, 1), time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	s.early = false
	return m.attach(&Socket{loop: m.Loop, handler: h, fd: fd, remote: manualAddr, tls: s}, h), nil
}

func (m *Manual) attach(k *Socket, h Handler) *Socket {
	if isUnix(k.fd) {
		k.backlog = new(backlog)
	}
	m.sockets.Add(1)
	nested := m.enter(k)
	defer m.leave(k, nested)
	m.live[k] = struct{}{}
	h.Opened(k)
	return k
}

// Deliver has k read p. Not while k is paused.
func (m *Manual) Deliver(k *Socket, p []byte) {
	if k.paused {
		panic("netloop: a paused socket reads")
	}
	if !k.dead {
		m.read(k, p)
	}
}

// Hangup ends k as the network would: err is io.EOF when the peer has ended its direction.
func (m *Manual) Hangup(k *Socket, err error) {
	if !k.dead {
		m.inputEnds(k, err)
	}
}

// Ready lets blocked sockets write.
func (m *Manual) Ready() {
	if len(m.blocked) == 0 {
		return
	}
	m.readyMu.Lock()
	m.ready = append(m.ready, m.blocked...)
	m.readyMu.Unlock()
	m.blocked = m.blocked[:0]
	m.RunTurn()
}

// Redirect has k write to fd instead.
func (m *Manual) Redirect(k *Socket, fd int) { k.fd = fd }

// Gone reports whether k is closed.
func (m *Manual) Gone(k *Socket) bool { return k.dead }

// manualReadiness is a Manual as its sockets' readiness.
type manualReadiness Manual

func (r *manualReadiness) await(k *Socket, _ uint32) error {
	r.blocked = append(r.blocked, k)
	return nil
}

func (r *manualReadiness) forget(k *Socket) {
	for i, b := range r.blocked {
		if b == k {
			r.blocked = append(r.blocked[:i], r.blocked[i+1:]...)
			return
		}
	}
}

// manualAddr is what sockets of a manual loop are called.
const manualAddr = "127.0.0.1:1"
