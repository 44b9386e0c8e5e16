package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// auditLog writes who was let in and who was not, one JSON object a line. Who notes something waits for nobody: what the file
// does not take in time is dropped, counted, and told by a line of its own. It is an auth.Audit, and safe for all.
type auditLog struct {
	sink *cli.Sink
	own  bool       // the sink is not the log's
	file *auditFile // nil: standard output
}

// newAuditLog opens the audit log at path; "-": it is in the log, which is behind out.
func newAuditLog(path string, out *cli.Sink, trouble func(error)) (*auditLog, error) {
	if path == "-" {
		return &auditLog{sink: out}, nil
	}
	f := &auditFile{path: path, trouble: trouble}
	if err := f.open(); err != nil {
		return nil, err
	}
	notice := func(lost uint64) []byte {
		return fmt.Appendf(nil, "{\"time\":%q,\"act\":\"dropped\",\"events\":%d}\n", time.Now().UTC().Format(time.RFC3339Nano), lost)
	}
	return &auditLog{sink: cli.NewSink(f, cli.SinkOptions{Trouble: trouble, Notice: notice}), own: true, file: f}, nil
}

// Note implements auth.Audit. Times are those of the log, whatever the zone of the machine is.
func (a *auditLog) Note(e *auth.Event) {
	var b bytes.Buffer
	in := *e
	in.Time = in.Time.UTC()
	if err := json.NewEncoder(&b).Encode(&in); err == nil {
		_, _ = a.sink.Write(visible(b.Bytes()))
	}
}

// visible returns JSON with what does not print written as escapes. encoding/json leaves most of it as it is, and what a stranger claims
// to be may hold what drives the terminal of who reads the log, or turns the direction of its text.
func visible(b []byte) []byte {
	hidden := func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
	if bytes.IndexFunc(b, hidden) < 0 {
		return b
	}
	var out []byte
	for _, r := range string(b) { // encoding/json makes UTF-8 alone
		if !hidden(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, u)
		}
	}
	return out
}

// reloaded notes that the configuration was loaded anew, or why it could not be.
func (a *auditLog) reloaded(now time.Time, faults []error) {
	if a == nil {
		return
	}
	e := auth.Event{Time: now, Act: auth.ActReload, Allowed: len(faults) == 0, Reason: "configuration"}
	if len(faults) > 0 {
		e.Reason += ": " + errors.Join(faults...).Error()
	}
	a.Note(&e)
}

// dropped is how many events were not written, for want of room or by an error.
func (a *auditLog) dropped() uint64 {
	if a == nil || !a.own {
		return 0
	}
	return a.sink.Dropped()
}

// reopen has the file made anew, if it was moved away, before the next event is written.
func (a *auditLog) reopen() {
	if a != nil && a.file != nil {
		a.file.again.Store(true)
	}
}

// close writes what is left, within the time of ctx.
func (a *auditLog) close(ctx context.Context) {
	if a != nil && a.own {
		_ = a.sink.Close(ctx)
	}
}

// auditFile is a file that is appended to, or a pipe. Owned by the goroutine that writes, but for again.
type auditFile struct {
	path    string
	trouble func(error) // is told once why it cannot be opened again; nil: no one is
	again   atomic.Bool // it is to be opened again before the next write; safe for all
	told    bool
	f       *os.File
}

var _ io.Writer = (*auditFile)(nil)

func (f *auditFile) open() error {
	// Without O_NONBLOCK a pipe that nobody reads would hold the node at this line.
	n, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("open %s: it is a pipe, or a socket, that nobody reads: start the reader first", f.path)
	}
	if err != nil {
		return err
	}
	if f.f != nil {
		_ = f.f.Close()
	}
	f.f = n
	return nil
}

// Write implements io.Writer.
func (f *auditFile) Write(p []byte) (int, error) {
	if f.again.Swap(false) {
		err := f.open()
		if err != nil { // the old one is better than none
			f.again.Store(true)
			if !f.told && f.trouble != nil {
				f.trouble(fmt.Errorf("it goes on where it was, and is tried again with each event: %w", err))
			}
		}
		f.told = err != nil
	}
	return f.f.Write(p)
}

// auditor is who is told of decisions; nil: nobody is.
func (p *program) auditor() auth.Audit {
	if p.audit == nil {
		return nil
	}
	return p.audit
}
