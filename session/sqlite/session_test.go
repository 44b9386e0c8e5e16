package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
	"github.com/seed31b3bfd0/slimgo/session/sqlite"
)

var key = bytes.Repeat([]byte{0x5a}, session.StoreKeySize)

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	db, err := sqlite.Open(path, &sqlite.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// files are those of a store, as they stand.
func files(t *testing.T, path string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		all[suffix] = b
	}
	return all
}

// keptBy makes an app that keeps its sessions in a file.
func keptBy(db *sqlite.Store) func(*session.Options) {
	return func(o *session.Options) { o.Store, o.StoreKey = db, key }
}

// A session of a file that was copied when the power was gone goes on. The file shows nothing of it, has one key, and is empty
// when the session is over.
func TestSessionInAFile(t *testing.T) {
	net := sessiontest.New(t, sessiontest.Options{Delay: time.Millisecond})
	path := filepath.Join(t.TempDir(), "alice.db")
	db := open(t, path)
	alice, bob := net.App("org/ns/alice", keptBy(db)), net.App("org/ns/roberta") // no short name: what is random contains that
	l, err := bob.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alice.Open(t.Context(), bob.Name(), session.SessionOptions{Metadata: map[string]string{"topic": "moonlight"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	says := func(from, to *session.Session, text string) {
		t.Helper()
		d, err := from.Publish(t.Context(), session.Text(text))
		if err == nil {
			err = d.Wait(t.Context())
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if m, err := to.Receive(t.Context()); err != nil || string(m.Data) != text {
			t.Fatalf("%q: %v, %v", text, m, err)
		}
	}
	for i := range 20 {
		says(a, b, fmt.Sprint("sunshine ", i))
		says(b, a, fmt.Sprint("starlight ", i))
	}
	copied := files(t, path)
	secrets := []string{"alice", "roberta", "moonlight", "topic", "sunshine", "starlight", alice.Subject(), string(net.Options("org/ns/alice").Secret), string(key)}
	for suffix, b := range copied {
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("alice.db%s has %q in the clear", suffix, s)
			}
		}
	}
	net.Partition("org/ns/alice") // the first life of alice says nothing any more
	power := filepath.Join(t.TempDir(), "copy.db")
	for suffix, b := range copied {
		if err := os.WriteFile(power+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, power)
	o := net.Options("org/ns/alice")
	o.Store, o.StoreKey = again, bytes.Repeat([]byte{1}, session.StoreKeySize)
	if _, err := session.Connect(t.Context(), o); !errors.Is(err, session.ErrStore) {
		t.Errorf("with another key: %v", err)
	}
	if err := alice.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	net.Heal()
	second := net.App("org/ns/alice", keptBy(again))
	if second.Name() != alice.Name() {
		t.Error("it has another id")
	}
	list := second.Sessions()
	if len(list) != 1 {
		t.Fatalf("%d sessions", len(list))
	}
	a = list[0]
	says(a, b, "again")
	says(b, a, "and back")
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	left := 0
	for _, err := range again.Read(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		left++
	}
	if left != 3 { // the app's own: who it is, which process it is, and the check of the key
		t.Errorf("%d records are left", left)
	}
}

// The default waits for the disk, the relaxed store does not; both go on after a kill.
func TestAppsInOneFile(t *testing.T) {
	net := sessiontest.New(t, sessiontest.Options{Delay: time.Millisecond})
	path := filepath.Join(t.TempDir(), "both.db")
	var ids []session.Name
	for life := range 2 {
		db, err := sqlite.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		alice, bob := net.App("org/ns/alice", keptBy(db)), net.App("org/ns/bob", keptBy(db))
		l, err := bob.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			ids = []session.Name{alice.Name(), bob.Name()}
			if _, err := alice.Open(t.Context(), bob.Name(), session.SessionOptions{}); err != nil {
				t.Fatal(err)
			}
		} else if ids[0] != alice.Name() || ids[1] != bob.Name() {
			t.Error("ids are others")
		}
		b, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d, err := alice.Sessions()[0].Publish(t.Context(), session.Text("hello"))
		if err == nil {
			err = d.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, a := range []*session.App{alice, bob} {
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
