package admin

import (
	"net"
	"testing"
	"time"
)

// Who is idle makes room at once, however short that has been; who is being served, after a while; who goes has whoever waits look again.
func TestIdleOnesMakeRoomAtOnce(t *testing.T) {
	now := time.Now()
	l := newConns(pipes(nil))
	fresh := func() *conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close() })
		return &conn{Conn: theirs, of: l}
	}
	for range maxConns {
		if wait := l.add(fresh(), now); wait != 0 {
			t.Fatalf("it waits %v while there is room", wait)
		}
	}
	if wait := l.add(fresh(), now); wait != grace {
		t.Errorf("beside those who have just begun it waits %v, want %v", wait, grace)
	}
	for c := range l.all {
		c.idle = true
		break
	}
	if wait := l.add(fresh(), now); wait != 0 {
		t.Errorf("beside one that is idle it waits %v", wait)
	}
	for c := range l.all {
		select {
		case <-l.freed:
		default:
		}
		_ = c.Close()
		break
	}
	select {
	case <-l.freed:
	default:
		t.Error("nobody is told that there is room")
	}
}
