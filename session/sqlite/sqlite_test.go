package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
	"github.com/seed31b3bfd0/slimgo/session/internal/store/storetest"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestStore(t *testing.T) {
	for name, o := range map[string]*Options{"default": nil, "relaxed": {Relaxed: true}} {
		t.Run(name, func(t *testing.T) {
			var path string
			again := func(t *testing.T) store.Store { return opened(t, path, o) }
			storetest.Run(t, func(t *testing.T) store.Store {
				path = filepath.Join(t.TempDir(), "a file of 100% #1?.db")
				return again(t)
			}, again)
		})
	}
}

func opened(t *testing.T, path string, o *Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(n uint64, value string) store.Change {
	return store.Change{Key: store.Key{Kind: 1, Number: n}, Value: []byte(value)}
}

// What makes a file unusable is said in words, with its path, and leaves no descriptor behind.
func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	held := opened(t, file("held.db"), nil)
	defer held.Close()
	if err := os.WriteFile(file("text.db"), bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	other := func(name, statement string) {
		db, err := sql.Open("sqlite", file(name))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	other("foreign.db", "CREATE TABLE t (a)")
	opened(t, file("later.db"), nil).Close()
	other("later.db", "PRAGMA user_version=99")
	for name, want := range map[string]string{
		"held.db": "another process has it open", "text.db": "no database", "foreign.db": "another program's", "later.db": "version 99",
		"no/such/folder.db": "cannot be opened", ".": "cannot be opened",
	} {
		s, err := Open(file(name), nil)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file(name)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	storetest.Write(t, held, record(1, "still usable"))
}

// The file, and what SQLite puts beside it, is for its user alone.
func TestFilesAreTheirUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	s := opened(t, path, nil)
	defer s.Close()
	storetest.Write(t, s, record(1, "x"))
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s: mode %o", info.Name(), mode)
		}
	}
}

// An empty file is a new one: deployments make it to give it its owner.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path, nil)
	defer s.Close()
	storetest.Write(t, s, record(1, "x"))
	storetest.Want(t, s, record(1, "x"))
}

// A disk that is full fails what did not fit, and no more: what was confirmed stays, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "full.db"), nil)
	defer s.Close()
	storetest.Write(t, s, record(1, "there"))
	limit := func(pages string) {
		if _, err := s.conn.ExecContext(context.Background(), "PRAGMA max_page_count="+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("4")
	done := make(chan error)
	s.Write([]store.Change{record(2, "small"), record(3, strings.Repeat("x", 100_000))}, func(err error) { done <- err })
	if err := <-done; err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("a full disk: %v", err)
	}
	storetest.Want(t, s, record(1, "there"))
	s.using.Lock() // until all three are there for one batch
	results := make(chan error, 3)
	for _, c := range []store.Change{record(2, "small"), record(3, strings.Repeat("x", 100_000)), record(4, "small")} {
		s.Write([]store.Change{c}, func(err error) { results <- err })
	}
	s.using.Unlock()
	if a, b, c := <-results, <-results, <-results; a != nil || b == nil || c != nil {
		t.Fatalf("a large one among small ones: %v, %v, %v", a, b, c)
	}
	limit("100000")
	storetest.Write(t, s, record(5, "more"))
	storetest.Want(t, s, record(1, "there"), record(2, "small"), record(4, "small"), record(5, "more"))
}

// What was confirmed is there when the process is killed: the copy of the files at that moment is what a new process finds.
func TestFilesAreWholeAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "live.db")
	s := opened(t, path, &Options{Relaxed: true})
	defer s.Close()
	var want []store.Change
	for i := range 20 {
		want = append(want, record(uint64(i), strings.Repeat("v", 500)))
		storetest.Write(t, s, want[i])
		after := filepath.Join(t.TempDir(), "after.db")
		for _, suffix := range []string{"", "-wal"} {
			b, err := os.ReadFile(path + suffix)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := os.WriteFile(after+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		next := opened(t, after, nil)
		storetest.Want(t, next, want...)
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, o := range map[string]*Options{"default": nil, "relaxed": {Relaxed: true}} {
		b.Run(name, func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "bench.db"), o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			value := make([]byte, 140)
			done := make(chan error)
			for i := 0; b.Loop(); i++ {
				s.Write([]store.Change{{Key: store.Key{Kind: 1, Number: uint64(i)}, Value: value, Fresh: true}}, func(err error) { done <- err })
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is said of power failures, of other processes and of what is deleted rests on these settings.
func TestSettings(t *testing.T) {
	for _, c := range []struct {
		o    *Options
		want string
	}{
		{nil, "synchronous 2, secure_delete 1, locking_mode exclusive, journal_mode wal"},
		{&Options{Relaxed: true}, "synchronous 1, secure_delete 1, locking_mode exclusive, journal_mode wal"},
	} {
		s, err := Open(filepath.Join(t.TempDir(), "agent.db"), c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"synchronous", "secure_delete", "locking_mode", "journal_mode"} {
			var value string
			if err := s.conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value); err != nil {
				t.Fatal(name, err)
			}
			got = append(got, name+" "+value)
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
