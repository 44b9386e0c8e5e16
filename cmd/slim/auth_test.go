package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// auditOf reads an audit log.
func auditOf(t *testing.T, path string) (all []auth.Event) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e auth.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, e)
	}
	return all
}

// The audit log is lines of JSON that hold no secret, goes on in a new file when the old one was moved away, and waits for nobody.
func TestAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	a, err := newAuditLog(path, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	a.Note(&auth.Event{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), Act: auth.ActConnect, Subject: "one"})
	if err := a.sink.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), `{"time":"2026-01-02T02:04:05Z",`) {
		t.Errorf("%s, %v", b, err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	a.Note(&auth.Event{Act: auth.ActConnect, Subject: "two"})
	if err := a.sink.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.reopen()
	a.reloaded(time.Now(), []error{fmt.Errorf("a fault")})
	a.close(t.Context())
	old, fresh := auditOf(t, path+".1"), auditOf(t, path)
	if len(old) != 2 || old[1].Subject != "two" || len(fresh) != 1 || fresh[0].Act != auth.ActReload || fresh[0].Allowed || !strings.Contains(fresh[0].Reason, "a fault") {
		t.Errorf("%+v, %+v", old, fresh)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := newAuditLog(filepath.Join(path, "x"), nil, nil); err == nil {
		t.Error("a path that cannot be is none")
	}
}

// What a stranger claims to be forges no line of the audit log, and does nothing to the terminal of who reads it.
func TestAuditLogIsText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	a, err := newAuditLog(path, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	const evil = "x\n{\"act\":\"connect\",\"allowed\":true}\r\x1b[2J\x00\x7f\u0085\u009b31m\u2028\u202eabc\u2066\u200b\ufeff\U000e0041 \\u009b ü 名 😀"
	a.Note(&auth.Event{Act: auth.ActConnect, Subject: evil, Reason: evil, Name: evil + "\xff\xc2"})
	a.Note(&auth.Event{Act: auth.ActConnect, Subject: "ü 名 😀"})
	a.close(t.Context())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "ü 名 😀") {
		t.Errorf("%q", lines)
	}
	for _, line := range lines {
		if i := strings.IndexFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }); i >= 0 {
			t.Errorf("it has %q at %d", line[i:min(i+4, len(line))], i)
		}
	}
	if all := auditOf(t, path); all[0].Subject != evil || all[0].Reason != evil || all[1].Subject != "ü 名 😀" {
		t.Errorf("%+v", all)
	}
}

// Where the audit log cannot be opened again, that is said once, events go on where they went, and it is made as soon as it can be. What
// a full disk does not take is counted.
func TestAuditLogInTrouble(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "audit.jsonl")
	var told []error
	a, err := newAuditLog(path, nil, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	note := func(subject string) {
		t.Helper()
		a.Note(&auth.Event{Act: auth.ActConnect, Subject: subject})
		if err := a.sink.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	note("one")
	if err := os.Rename(folder, folder+".1"); err != nil {
		t.Fatal(err)
	}
	a.reopen()
	note("two")
	note("three")
	if len(told) != 1 || !errors.Is(told[0], fs.ErrNotExist) || !strings.Contains(told[0].Error(), path) {
		t.Errorf("told of %v, want once that %s cannot be opened", told, path)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	note("four")
	a.close(t.Context())
	if old, fresh := auditOf(t, filepath.Join(folder+".1", "audit.jsonl")), auditOf(t, path); len(old) != 3 || len(fresh) != 1 || a.dropped() != 0 {
		t.Errorf("%+v, %+v, %d dropped", old, fresh, a.dropped())
	}

	told = nil
	if a, err = newAuditLog("/dev/full", nil, func(err error) { told = append(told, err) }); err != nil {
		t.Fatal(err)
	}
	note("one")
	note("two")
	a.close(t.Context())
	if a.dropped() != 2 || len(told) != 1 || !errors.Is(told[0], syscall.ENOSPC) {
		t.Errorf("%d are counted, told of %v", a.dropped(), told)
	}
}

// The audit log may be a pipe. One that nobody reads is refused, and does not hold the node; one whose reader stops loses what it
// does not take, and one whose reader is gone does not end the node.
func TestAuditLogIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newAuditLog(path, nil, nil); err == nil || !strings.Contains(err.Error(), "nobody reads") || !strings.Contains(err.Error(), path) {
		t.Errorf("without a reader: %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAuditLog(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * cli.DefaultSinkRecords {
		a.Note(&auth.Event{Act: auth.ActConnect, Subject: "somebody"})
	}
	if a.dropped() == 0 {
		t.Error("a reader that stops loses nothing")
	}
	var e auth.Event
	if line, err := bufio.NewReader(reader).ReadBytes('\n'); err != nil || json.Unmarshal(line, &e) != nil || e.Subject != "somebody" {
		t.Errorf("%q, %v", line, err)
	}
	_ = reader.Close()
	a.close(t.Context())
}

// A listener lets in who shows its password, a change of it is for those who are there, too, and a client whose password follows comes
// again; nothing of that is in a log. Rules: P-auth-1, P-auth-7, P-auth-8.
func TestWhoMayConnect(t *testing.T) {
	t.Parallel() // beside those that wait
	audit := filepath.Join(t.TempDir(), "audit.jsonl")
	server := func(password string) string {
		return serviceText([]string{plain("127.0.0.1:0", "auth: {type: basic, username: alice, password: "+password+"}")}, nil)
	}
	one := startReloading(t, server("first-secret"), "--audit-log", audit)
	n := one.nodes[0]
	client := func(password string) string {
		return serviceText(nil, []string{plain("http://"+n.Addrs()[0].String(), "auth: {type: basic, username: alice, password: "+password+"}",
			"backoff: {type: fixed_interval, interval: 10ms}")})
	}
	two := startReloading(t, client("first-secret"))
	two.await("auth is used without TLS")
	until(t, "the link is up", func() bool { return n.Stats().Negotiated == 1 })

	one.reload(server("second-secret"), "configuration ")
	until(t, "who has shown the old password is ended", func() bool { return n.Stats().Refused[router.ReasonRevoked] == 1 })
	until(t, "the old password is refused", func() bool { return n.Stats().Refused[router.ReasonUnauthorized] > 0 })

	two.reload(client("second-secret"), "shows other credentials")
	until(t, "the link is up again", func() bool { return n.Stats().Negotiated == 2 })
	two.stop()
	one.stop()

	acts := map[string]int{}
	for _, e := range auditOf(t, audit) {
		acts[fmt.Sprint(e.Act, " ", e.Allowed, " ", e.Subject)]++
	}
	for _, want := range []string{"connect true alice", "connect false alice", "close false alice", "reload true "} {
		if acts[want] == 0 {
			t.Errorf("no %q in the audit log: %v", want, acts)
		}
	}
	b, err := os.ReadFile(audit)
	if err != nil || strings.Contains(string(b), "secret") {
		t.Errorf("the audit log holds a password: %v, %s", err, b)
	}
}
