package scenario

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/session"
)

// AppsCommand is what a program is called with to do PlayApps: scenarios with sessions start their own program so.
const AppsCommand = "apps"

// cast says which apps a process plays.
type cast struct {
	Node, Secret string
	Names        []string
	Serving      bool // they answer calls, and read nothing else
}

// tally is what they have got so far, and what runs in their process.
type tally struct {
	Received, Duplicates, Reordered uint64
	Goroutines                      int
}

// rest tells them to read no more, and to give memory back.
const rest = "rest"

// PlayApps plays the apps that receive, in a process of its own, so that what they use is known. It reads a cast, and then a
// word at a time, until in ends; it answers each with a tally when all that the word asks for is done.
func PlayApps(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	words, answers := json.NewDecoder(in), json.NewEncoder(out)
	var c cast
	if err := words.Decode(&c); err != nil {
		return err
	}
	var e ears
	listening, stop := context.WithCancel(ctx)
	defer stop()
	for _, name := range c.Names {
		app, err := c.app(ctx, name)
		if err != nil {
			return err
		}
		if c.Serving {
			answer(ctx, app)
			continue
		}
		l, err := app.Listen(session.ListenOptions{Backlog: 1 << 16})
		if err != nil {
			return err
		}
		go func() {
			for s, err := range l.Sessions(ctx) {
				if err == nil {
					e.reading.Go(func() { e.listen(listening, s) })
				}
			}
		}()
	}
	debug.FreeOSMemory()
	for {
		h := tally{e.received.Load(), e.duplicates.Load(), e.reordered.Load(), runtime.NumGoroutine()}
		if err := answers.Encode(h); err != nil {
			return err
		}
		var word string
		switch err := words.Decode(&word); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case word == rest:
			stop()
			e.reading.Wait()
			debug.FreeOSMemory()
		}
	}
}

// app connects one of them.
func (c *cast) app(ctx context.Context, name string) (*session.App, error) {
	n, err := session.ParseName(name)
	if err != nil {
		return nil, err
	}
	return session.Connect(ctx, session.Options{Name: n, Secret: []byte(c.Secret), Nodes: []string{c.Node}})
}

// ears count what comes.
type ears struct {
	reading                         sync.WaitGroup
	received, duplicates, reordered atomic.Uint64
}

// listen reads what one app gets in one session. Messages begin with their number, from 0 on.
func (e *ears) listen(ctx context.Context, s *session.Session) {
	next := uint64(0)
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return
		}
		var n uint64
		if len(m.Data) >= 8 {
			n = binary.BigEndian.Uint64(m.Data)
		}
		next = e.count(next, n)
	}
}

// count takes note of number n where next was to come, and returns what is to come then.
func (e *ears) count(next, n uint64) uint64 {
	e.received.Add(1)
	switch {
	case n < next:
		e.duplicates.Add(1)
	case n > next:
		e.reordered.Add(1)
	}
	return max(next, n+1)
}

// troupe is a process that plays apps. One goroutine uses it.
type troupe struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	words   *json.Encoder
	answers *json.Decoder
	log     strings.Builder // read when the process has ended
}

// troupeLimit is for an answer, and for the end of a process that has nothing more to do.
const troupeLimit = 30 * time.Second

// engage starts the process, and returns when its apps can be invited; ctx bounds that.
func engage(ctx context.Context, c cast) (*troupe, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := &troupe{cmd: exec.Command(self, AppsCommand)}
	t.cmd.Stderr = &t.log
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a terminal's interrupt leaves it for the last figures
	in, err := t.cmd.StdinPipe()
	out, err2 := t.cmd.StdoutPipe()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	t.in, t.words, t.answers = in, json.NewEncoder(in), json.NewDecoder(out)
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, t.kill)()
	if _, err := t.talk(c); err != nil {
		return nil, errors.Join(ctx.Err(), err, t.dismiss())
	}
	return t, nil
}

func (t *troupe) kill() { _ = t.cmd.Process.Kill() }

// tell says a word and returns the answer.
func (t *troupe) tell(word string) (tally, error) {
	defer time.AfterFunc(troupeLimit, t.kill).Stop()
	return t.talk(word)
}

// talk says something that is answered, however long that takes.
func (t *troupe) talk(word any) (h tally, err error) {
	if err = t.words.Encode(word); err == nil {
		err = t.answers.Decode(&h)
	}
	if err != nil {
		err = fmt.Errorf("the process of the apps that receive: %w", err)
	}
	return h, err
}

// usage is what the process uses.
func (t *troupe) usage() (usage.Usage, error) { return usage.Of(t.cmd.Process.Pid) }

// dismiss ends it.
func (t *troupe) dismiss() error {
	_ = t.in.Close()
	defer time.AfterFunc(troupeLimit, t.kill).Stop()
	if err := t.cmd.Wait(); err != nil {
		return fmt.Errorf("the process of the apps that receive: %w: %s", err, strings.TrimSpace(t.log.String()))
	}
	return nil
}
