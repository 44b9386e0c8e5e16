// Package sqlite keeps sessions in a file of SQLite, for apps that come back after their process has ended. It is a package of
// its own, so that apps without it do not carry it.
//
//	db, err := sqlite.Open("agent.db", nil)
//	app, err := session.Connect(ctx, session.Options{Store: db, StoreKey: key, …})
//
// Values are sealed by the session layer under the app's key; without it the file says nothing but how many records there
// are, and how large. One process uses a file at a time.
//
// A transaction is of one session; those that are handed over while the disk is busy go to it together. By default each is
// on the disk, by fsync, before the session goes on: what was confirmed is there after a power failure. Options.Relaxed leaves
// that to the system, which is several times as fast where the disk is slow: it is there after the process was killed, and
// the last moments may be missing after the machine went down.
package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

// Options of a store. The zero value is meant for use.
type Options struct {
	// Relaxed confirms what the operating system has taken, before it is on the disk.
	Relaxed bool
}

// Store is an open file. It implements the sessions' Store.
type Store struct {
	path string
	db   *sql.DB
	conn *sql.Conn // the only one: it locks the file for this process

	using sync.Mutex // held over a transaction, or a read: on one connection, they would be one

	mu      sync.Mutex
	queue   []transaction // handed over, not yet taken by the writer
	closing bool
	wake    chan struct{} // holds one: there is something for the writer
	ended   chan struct{} // closed when the writer has ended
	closed  error         // of the end; of the reader after ended
}

type transaction struct {
	changes []store.Change
	done    func(error)
}

const (
	// application is in the header of the file, for file(1) and against other programs' files: "slim".
	application = 0x736c696d
	// version of the tables, in the header, too.
	version = 1

	schema = `CREATE TABLE records (
	owner  BLOB    NOT NULL,
	kind   INTEGER NOT NULL,
	number INTEGER NOT NULL, -- minus 2^63
	value  BLOB    NOT NULL,
	PRIMARY KEY (owner, kind, number)
) STRICT, WITHOUT ROWID`

	// mostAtOnce bounds the transactions that go to the disk together, so that the first does not wait for long.
	mostAtOnce = 256
)

// Open opens the file, and makes it where there is none, for this process alone. o may be nil.
func Open(path string, o *Options) (*Store, error) {
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, explain(err))
	}
	return s, nil
}

func open(path string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	// A relative path of a URI is one of the host in it, unless it is opaque.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	synchronous := "FULL"
	if o.Relaxed {
		synchronous = "NORMAL"
	}
	// The lock is taken with the first read and kept. What is deleted is overwritten.
	pragmas := url.Values{"_pragma": {"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(" + synchronous + ")", "secure_delete(ON)",
		"busy_timeout(0)"}, "_txlock": {"immediate"}}
	slashed := "/" + strings.TrimPrefix(filepath.ToSlash(path), "/") // of Windows, too: /C:/…
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: slashed, RawQuery: pragmas.Encode()}).String())
	if err != nil {
		return nil, err
	}
	// The file is its user's: SQLite would make it readable for all.
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		f.Close()
	} // else SQLite says what is wrong, in its turn
	db.SetMaxOpenConns(1) // others would be locked out
	s := &Store{path: path, db: db, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if s.conn, err = db.Conn(context.Background()); err == nil {
		err = s.prepare()
	}
	if err != nil {
		return nil, errors.Join(err, s.release())
	}
	go s.write()
	return s, nil
}

func (s *Store) release() error {
	var err error
	if s.conn != nil {
		err = s.conn.Close()
	}
	return errors.Join(err, s.db.Close())
}

// prepare makes the table in a new file, and refuses one of another program or of a later version.
func (s *Store) prepare() error {
	ctx := context.Background()
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of one that is committed
	var app, have, tables int
	row := tx.QueryRowContext(ctx, "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id a, pragma_user_version v")
	if err := row.Scan(&app, &have, &tables); err != nil {
		return err
	}
	switch {
	case tables == 0 && app == 0:
		for _, statement := range []string{schema, fmt.Sprint("PRAGMA application_id=", application), fmt.Sprint("PRAGMA user_version=", version)} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	case app != application:
		return errors.New("it is another program's database")
	case have != version:
		return fmt.Errorf("it has version %d of the tables, and this program knows %d: open it with the program that wrote it", have, version)
	}
	return tx.Commit()
}

// Write implements the sessions' Store.
func (s *Store) Write(changes []store.Change, done func(error)) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		done(store.ErrClosed)
		return
	}
	s.queue = append(s.queue, transaction{changes, done})
	s.mu.Unlock()
	s.poke()
}

func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write is the writer: it takes what is there, mostAtOnce at a time.
func (s *Store) write() {
	defer close(s.ended)
	for {
		s.mu.Lock()
		n := min(len(s.queue), mostAtOnce)
		batch := s.queue[:n:n]
		s.queue = s.queue[n:]
		closing := s.closing
		s.mu.Unlock()
		switch {
		case n > 0:
			for i, err := range s.together(batch) {
				batch[i].done(err)
			}
		case closing:
			s.closed = s.release()
			return
		default:
			<-s.wake
		}
	}
}

// together puts the transactions of a batch into one, and returns what became of each.
func (s *Store) together(batch []transaction) []error {
	s.using.Lock()
	defer s.using.Unlock()
	results := make([]error, len(batch))
	if err := s.commit(batch, results); err != nil && len(batch) == 1 {
		results[0] = err
	} else if err != nil {
		// It may be the fault of one, such as too large a record for a disk that is nearly full.
		for i := range batch {
			if err := s.commit(batch[i:i+1], results[i:i+1]); err != nil {
				results[i] = err
			}
		}
	}
	for i, err := range results {
		if err != nil {
			results[i] = fmt.Errorf("store %s: %w", s.path, explain(err))
		}
	}
	return results
}

// commit makes one transaction of a batch. Those that fail alone it undoes, and says so in results; an error is of all.
func (s *Store) commit(batch []transaction, results []error) error {
	ctx := context.Background() // what was handed over is written, whoever waits for it
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of one that is committed, or that SQLite has undone
	for i, t := range batch {
		if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
			return err
		}
		results[i] = apply(ctx, tx, t.changes)
		end := "RELEASE one"
		if results[i] != nil {
			end = "ROLLBACK TO one; RELEASE one"
		}
		if _, err := tx.ExecContext(ctx, end); err != nil {
			return cmp.Or(results[i], err) // after some errors, such as that of a full disk, SQLite has undone all
		}
	}
	return tx.Commit()
}

func apply(ctx context.Context, tx *sql.Tx, changes []store.Change) error {
	for _, c := range changes {
		owner, number := c.Key.Owner[:], int64(c.Key.Number)^math.MinInt64
		var err error
		switch {
		case c.Value == nil:
			_, err = tx.ExecContext(ctx, "DELETE FROM records WHERE owner=? AND kind=? AND number=?", owner, c.Key.Kind, number)
		case c.Fresh:
			err = insert(ctx, tx, c, number)
		default:
			_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO records VALUES (?,?,?,?)", owner, c.Key.Kind, number, c.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insert makes a record that is not there, or is there with the same value.
func insert(ctx context.Context, tx *sql.Tx, c store.Change, number int64) error {
	made, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO records VALUES (?,?,?,?)", c.Key.Owner[:], c.Key.Kind, number, c.Value)
	if err != nil {
		return err
	}
	if n, err := made.RowsAffected(); err != nil || n > 0 {
		return err
	}
	var old []byte
	row := tx.QueryRowContext(ctx, "SELECT value FROM records WHERE owner=? AND kind=? AND number=?", c.Key.Owner[:], c.Key.Kind, number)
	if err := row.Scan(&old); err != nil {
		return err
	}
	if !bytes.Equal(old, c.Value) {
		return fmt.Errorf("%w: record %v", store.ErrConflict, c.Key)
	}
	return nil
}

// Read implements the sessions' Store. It is meant for the start of an app: records are collected before the first is given,
// and transactions wait for that.
func (s *Store) Read(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		records, err := s.read(ctx)
		if err != nil {
			yield(store.Record{}, err)
			return
		}
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s *Store) read(ctx context.Context) ([]store.Record, error) {
	s.using.Lock()
	defer s.using.Unlock()
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return nil, store.ErrClosed
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT owner, kind, number, value FROM records ORDER BY owner, kind, number")
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path, explain(err))
	}
	defer rows.Close() //nolint:errcheck // Err tells
	var records []store.Record
	for rows.Next() {
		var r store.Record
		var owner []byte
		var number int64
		if err := rows.Scan(&owner, &r.Key.Kind, &number, &r.Value); err != nil {
			return nil, fmt.Errorf("store %s: a record: %w", s.path, err)
		}
		if copy(r.Key.Owner[:], owner) != len(owner) || len(owner) != len(r.Key.Owner) {
			return nil, fmt.Errorf("store %s: a record belongs to %d bytes, want %d", s.path, len(owner), len(r.Key.Owner))
		}
		r.Key.Number = uint64(number ^ math.MinInt64)
		records = append(records, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path, explain(err))
	}
	return records, nil
}

// Close implements the sessions' Store. The file is whole without it, too.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	s.poke()
	<-s.ended
	if again {
		return nil
	}
	return s.closed
}

// explain says what an error of SQLite means for who runs the app.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	what := map[int]string{
		lib.SQLITE_BUSY:     "another process has it open",
		lib.SQLITE_LOCKED:   "another process has it open",
		lib.SQLITE_FULL:     "the disk is full",
		lib.SQLITE_READONLY: "it, or its folder, cannot be written",
		lib.SQLITE_CANTOPEN: "it cannot be opened: does its folder exist, and may this user write there?",
		lib.SQLITE_NOTADB:   "it is no database of SQLite",
		lib.SQLITE_CORRUPT:  "it is damaged: put a backup in its place",
		lib.SQLITE_IOERR:    "the disk does not do what it is asked for",
	}[e.Code()&0xff]
	if what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}
