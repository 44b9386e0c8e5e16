// Command file sends files to another app, encrypted from end to end, and shows how far it is.
//
//	export SLIM_SECRET='a secret of both, 32 bytes or more'
//	file -name org/demo/bob -dir inbox                  (in one terminal)
//	file -name org/demo/alice -to org/demo/bob photo.jpg (in another)
//
// A file is a session: its offer is the session's first message, its content follows in parts, and the receiver's answer comes last.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session"
)

// part is how much of a file a message holds.
const part = 64 << 10

// offer is what is said of a file before its content.
type offer struct {
	Name string `json:"name"` // without folders
	Size int64  `json:"size"`
}

// sum is what is said of it afterwards.
type sum struct {
	SHA256 []byte `json:"sha256"`
}

// verdict is what the receiver says in the end.
type verdict struct {
	Error string `json:"error,omitempty"` // empty: it has the file
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "file:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	f := flag.NewFlagSet("file", flag.ContinueOnError)
	name := f.String("name", "org/demo/bob", "own name")
	to := f.String("to", "", "whom to send the files that are named; empty: receive")
	dir := f.String("dir", ".", "folder for what is received")
	most := f.Int64("most", 1<<30, "receive files of so many bytes at most")
	count := f.Int("count", 0, "receive so many files; 0: until interrupted")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	o := session.Options{Name: me, Secret: []byte(env("SLIM_SECRET")), Logger: slog.Default()}
	if node := env("SLIM_ADDR"); node != "" {
		o.Nodes = []string{node}
	}
	app, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = app.Close(context.WithoutCancel(ctx)) }()
	if *to == "" {
		return receiveAll(ctx, app, *dir, *most, *count, &shown{out: out})
	}
	peer, err := session.ParseName(*to)
	if err != nil {
		return err
	}
	for _, path := range f.Args() {
		if err := send(ctx, app, peer, path, &shown{out: out}); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// send sends a file, in a session of its own.
func send(ctx context.Context, app *session.App, peer session.Name, path string, show *shown) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	s, err := app.Open(ctx, peer, session.SessionOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close(ctx) }()
	if err := say(ctx, s, offer{filepath.Base(path), info.Size()}); err != nil {
		return err
	}
	if err := content(ctx, s, file, info, show); err != nil {
		return err
	}
	m, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	var v verdict
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return fmt.Errorf("the answer is not understood: %w", err)
	}
	if v.Error != "" {
		return fmt.Errorf("%v: %s", m.From, v.Error)
	}
	return nil
}

// content sends what is in the file, and its sum. Parts are under way while others are read: Publish waits where that is too much.
func content(ctx context.Context, s *session.Session, file io.Reader, info os.FileInfo, show *shown) error {
	digest, b, sent := sha256.New(), make([]byte, part), int64(0)
	var last *session.Delivery
	for {
		n, err := io.ReadFull(file, b)
		if n > 0 {
			digest.Write(b[:n])
			if last, err = s.Publish(ctx, session.Content{Data: b[:n], Type: "application/octet-stream"}); err != nil {
				return refusal(ctx, s, err)
			}
			sent += int64(n)
			show.progress("sending "+info.Name(), sent, info.Size())
			continue
		}
		if err != io.EOF {
			return err
		}
		break
	}
	if err := say(ctx, s, sum{digest.Sum(nil)}); err != nil {
		return refusal(ctx, s, err)
	}
	if last != nil {
		if err := last.Wait(ctx); err != nil { // it may have left at the offer
			return refusal(ctx, s, err)
		}
	}
	return nil
}

// refusal is why a session has ended before all was said: the other one's verdict, if it has come.
func refusal(ctx context.Context, s *session.Session, err error) error {
	var v verdict
	if m, gone := s.Receive(ctx); gone == nil && json.Unmarshal(m.Data, &v) == nil && v.Error != "" {
		return fmt.Errorf("%v: %s", m.From, v.Error)
	}
	return err
}

// say sends a message of JSON.
func say(ctx context.Context, s *session.Session, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.Publish(ctx, session.Content{Data: b, Type: "application/json"})
	return err
}

// receiveAll receives the files of everybody, several at a time.
func receiveAll(ctx context.Context, app *session.App, dir string, most int64, count int, show *shown) error {
	folder, err := os.OpenRoot(dir) // nothing is written outside of it, whatever a name says
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	for s, err := range l.Sessions(ctx) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() {
			name, err := receive(ctx, s, folder, most, show)
			var v verdict
			if err != nil {
				v.Error = err.Error()
			}
			show.result(s.Dest(), name, err)
			if say(ctx, s, v) == nil && err == nil {
				<-s.Done() // the sender ends it, as it has the answer then
				return
			}
			_ = s.Close(ctx)
		})
		if count--; count == 0 {
			return nil
		}
	}
	return nil
}

// receive receives one file, and returns its name. It lies under another name until it is whole.
func receive(ctx context.Context, s *session.Session, folder *os.Root, most int64, show *shown) (name string, err error) {
	var o offer
	if err := heard(ctx, s, &o); err != nil {
		return "", err
	}
	switch {
	case o.Name != filepath.Base(o.Name) || !filepath.IsLocal(o.Name) || o.Name == ".":
		return "", fmt.Errorf("%q is no name of a file", o.Name)
	case o.Size < 0 || o.Size > most:
		return o.Name, fmt.Errorf("%d bytes, and files may have %d", o.Size, most)
	}
	partial := fmt.Sprintf("%s.%d.part", o.Name, s.ID())
	file, err := folder.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return o.Name, err
	}
	digest := sha256.New()
	err = errors.Join(parts(ctx, s, file, digest, o, show), file.Close())
	var want sum
	if err == nil {
		err = heard(ctx, s, &want)
	}
	if err == nil && string(want.SHA256) != string(digest.Sum(nil)) {
		err = errors.New("the content is not what the sender has read")
	}
	if err == nil {
		if err = folder.Link(partial, o.Name); errors.Is(err, os.ErrExist) {
			err = fmt.Errorf("there is a file %s", o.Name)
		}
	}
	return o.Name, errors.Join(err, folder.Remove(partial))
}

// parts writes what comes, as much as was offered.
func parts(ctx context.Context, s *session.Session, file io.Writer, digest hash.Hash, o offer, show *shown) error {
	for got := int64(0); got < o.Size; {
		m, err := s.Receive(ctx)
		if err != nil {
			return err
		}
		if m.Type != "application/octet-stream" || int64(len(m.Data)) > o.Size-got {
			return fmt.Errorf("%d bytes of %s after %d of %d", len(m.Data), m.Type, got, o.Size)
		}
		digest.Write(m.Data)
		if _, err := file.Write(m.Data); err != nil {
			return err
		}
		got += int64(len(m.Data))
		show.progress("receiving "+o.Name, got, o.Size)
	}
	return nil
}

// heard receives a message of JSON.
func heard(ctx context.Context, s *session.Session, v any) error {
	m, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		return fmt.Errorf("a message of %s is not understood: %w", m.Type, err)
	}
	return nil
}

// shown is where progress is shown: a line for each tenth.
type shown struct {
	mu     sync.Mutex
	out    io.Writer        // guarded by mu
	tenths map[string]int64 // guarded by mu
}

func (s *shown) progress(what string, done, of int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenths == nil {
		s.tenths = map[string]int64{}
	}
	tenth := done * 10 / of
	if tenth == s.tenths[what] {
		return
	}
	s.tenths[what] = tenth
	if tenth == 10 {
		delete(s.tenths, what)
	}
	fmt.Fprintf(s.out, "%s: %d %%\n", what, tenth*10)
}

func (s *shown) result(from session.Name, name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		fmt.Fprintf(s.out, "%s of %v: %v\n", name, from, err)
		return
	}
	fmt.Fprintf(s.out, "%s of %v is here\n", name, from)
}
