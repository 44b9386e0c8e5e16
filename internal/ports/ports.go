// Package ports chooses ports for programs that tests start. It is for tests.
package ports

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// Ports are chosen below those that Linux gives to whoever leaves the choice to it: it would give away one that is free only because its
// program is started again. They are in blocks, of which a process holds those that it takes ports of, by listening on their first port.
const (
	first  = 20000
	blocks = 24
	size   = 500
	most   = 8 // blocks of a process, which leaves some to others
)

var state struct {
	mu     sync.Mutex
	blocks []net.Listener // guarded by mu; never closed
	at     int            // guarded by mu: the block in use
	used   int            // guarded by mu: ports of it
}

// Free returns a port of 127.0.0.1 at which nobody listens. No other process that runs is given it, nor is anybody in this one before
// thousands of others have been.
func Free() (int, error) {
	state.mu.Lock()
	defer state.mu.Unlock()
	if len(state.blocks) == 0 && !another() {
		return 0, errors.New("no free port: other tests hold them all")
	}
	for range most * size {
		if state.used++; state.used == size {
			if state.used = 1; another() {
				state.at = len(state.blocks) - 1
			} else { // its own once more
				state.at = (state.at + 1) % len(state.blocks)
			}
		}
		port := state.blocks[state.at].Addr().(*net.TCPAddr).Port + state.used
		if l := listen(port); l != nil {
			Close(l)
			return port, nil
		}
	}
	return 0, errors.New("no free port: those of this process are all in use")
}

// another takes one more block. mu is held.
func another() bool {
	if len(state.blocks) == most {
		return false
	}
	for i := range blocks {
		if l := listen(first + (os.Getpid()+i)%blocks*size); l != nil {
			state.blocks = append(state.blocks, l)
			return true
		}
	}
	return false
}

// listen returns nil where somebody listens.
func listen(port int) net.Listener {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil
	}
	return l
}

// Close closes a listener for the kernel, too: a program that is being started has a copy of it until it runs, which would hold the port,
// and have who dials meanwhile be connected, and then reset.
func Close(l net.Listener) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	_ = l.Close()
}
