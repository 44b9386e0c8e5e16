package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// file is a policy with the file that it is loaded from.
type file struct {
	p    *Policy
	path string
	told chan error // by Reloaded
}

func newFile(t *testing.T, text string) *file {
	t.Helper()
	f := &file{path: filepath.Join(t.TempDir(), "policy.rego"), told: make(chan error, 1000)}
	f.replace(t, text)
	f.p = newPolicy(t, Options{File: f.path, Reloaded: func(err error) { f.told <- err }, settle: 10 * time.Millisecond})
	return f
}

// replace puts another file in the place of the old one, as editors do.
func (f *file) replace(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(f.path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		t.Fatal(err)
	}
}

// heard returns what came of the next change.
func (f *file) heard(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.told:
		return err
	case <-time.After(2 * time.Minute):
		return errTimeout
	}
}

// loaded returns when a policy has been loaded. A file may be looked at before all of it is there: that is told as a
// fault.
func (f *file) loaded(t *testing.T) {
	t.Helper()
	for err := f.heard(t); err != nil; err = f.heard(t) {
		if errors.Is(err, errTimeout) {
			t.Fatal(err)
		}
	}
}

func (f *file) allows(t *testing.T, sub string) bool {
	t.Helper()
	return f.p.Allow(t.Context(), map[string]any{"sub": sub}) == nil
}

const only = "package slim.auth\nallow if input.claims.sub == "

// P-pol-14: a file counts anew however it is changed; what cannot be loaded leaves the old one in use, is said once, and counted. Upstream
// reads it once.
func TestReload(t *testing.T) {
	f := newFile(t, only+`"a"`)
	changed := f.p.Changed()
	for _, step := range []struct {
		name   string
		change func() error
		who    string
	}{
		{"renamed over", func() error { f.replace(t, only+`"b"`); return nil }, "b"},
		{"written in place", func() error { return os.WriteFile(f.path, []byte(only+`"c"`), 0o600) }, "c"},
		{"removed and made anew", func() error {
			if err := os.Remove(f.path); err != nil {
				return err
			}
			return os.WriteFile(f.path, []byte(only+`"d"`), 0o600)
		}, "d"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		f.loaded(t)
		select {
		case <-changed:
		default:
			t.Errorf("%s: nobody was told", step.name)
		}
		changed = f.p.Changed()
		if !f.allows(t, step.who) || f.allows(t, "a") {
			t.Errorf("%s: the old policy counts", step.name)
		}
	}

	failures := f.p.Status().Failures
	f.replace(t, only)
	err := f.heard(t)
	if err == nil || !strings.Contains(err.Error(), "policy.rego_file: "+f.path+": ") {
		t.Errorf("a bad file: %v", err)
	}
	s := f.p.Status()
	if s.Failures != failures+1 || s.Fault == nil || !f.allows(t, "d") {
		t.Errorf("after a bad file: %+v, the old one counts: %v", s, f.allows(t, "d"))
	}
	select {
	case <-changed:
		t.Error("a bad file has changed something")
	default:
	}

	if err := f.p.Reload(); err == nil || f.p.Status().Failures != failures+2 {
		t.Errorf("asked for: %v, %+v", err, f.p.Status())
	}
	_ = f.heard(t)
	f.replace(t, only+`"e"`)
	if err := f.heard(t); err != nil {
		t.Fatal(err)
	}
	if s := f.p.Status(); s.Fault != nil || s.Failures != failures+2 || !f.allows(t, "e") {
		t.Errorf("after a good file: %+v", s)
	}
}

// As Kubernetes replaces what it mounts: a link to a folder points elsewhere.
func TestReloadOfLink(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, v, "policy.rego"), []byte(only+`"`+v+`"`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("1")
	f := &file{told: make(chan error, 10)}
	f.p = newPolicy(t, Options{File: filepath.Join(dir, "data", "policy.rego"), Reloaded: func(err error) { f.told <- err }, settle: 10 * time.Millisecond})
	link("2")
	if err := f.heard(t); err != nil {
		t.Fatal(err)
	}
	if f.allows(t, "1") || !f.allows(t, "2") {
		t.Error("the old policy counts")
	}
}

// A file that is gone leaves its policy in use.
func TestFileGone(t *testing.T) {
	f := newFile(t, only+`"a"`)
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := f.heard(t); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
	if !f.allows(t, "a") {
		t.Error("the policy is gone with its file")
	}
}

// Without a file there is nothing to load, or to wait for.
func TestReloadWithoutFile(t *testing.T) {
	p := newPolicy(t, Options{CEL: "true"})
	if err := p.Reload(); err != nil || p.Status().Failures != 0 {
		t.Errorf("%v", err)
	}
}
