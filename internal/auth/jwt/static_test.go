package jwt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A token file's line end is no part of the token (P-jwt-15); upstream sends it, which is no header, and so shows nothing.
func TestStaticFileIsTrimmed(t *testing.T) {
	for _, text := range []string{"e.y.J", "e.y.J\n", " e.y.J\r\n\n", "\ufeffe.y.J"} {
		f, err := NewStaticFile(place(t, false, text), Watch{})
		if strings.HasPrefix(text, "\ufeff") {
			if err == nil || !strings.Contains(err.Error(), "no ASCII") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if h, err := f.Authorization(context.Background()); h != "Bearer e.y.J" || f.Token() != "e.y.J" || err != nil {
			t.Errorf("%q: %q, %v", text, h, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Authorization(context.Background()); err == nil {
			t.Error("it shows something after Close")
		}
	}
}

func TestStaticFileFaults(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"no path", "", "file: there is none"},
		{"no file", "/nowhere/token", "file /nowhere/token: no such file"},
		{"a folder", t.TempDir(), "is a directory"},
		{"empty", place(t, false, ""), "holds no token"},
		{"white space", place(t, false, " \n"), "holds no token"},
		{"two lines", place(t, false, "a.b.c\nd.e.f"), "holds more than a token"},
		{"a space", place(t, false, "Bearer a.b.c"), "holds more than a token"},
		{"too long", place(t, false, strings.Repeat("x", 16<<10)), "no listener takes a token of more than 16377"},
		{"far too long", place(t, false, strings.Repeat("x", 2<<20)), "larger than 1 MiB"},
	} {
		f, err := NewStaticFile(c.path, Watch{})
		if err == nil {
			_ = f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "a.b.c") {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

// Upstream misses a token file that is replaced, as Kubernetes does, and stops watching after a bad one.
func TestStaticFileTakesNewTokensHoweverTheyCome(t *testing.T) {
	for _, r := range replacements {
		t.Run(r.name, func(t *testing.T) {
			path := place(t, strings.Contains(r.name, "link"), "old\n")
			var told notices
			f, err := NewStaticFile(path, quick(&told))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r.replace(t, path, "")
			until(t, "the fault is told", func() bool { return told.some("holds no token") })
			if f.Token() != "old" || f.Loads().Failures == 0 {
				t.Errorf("with a bad file: %q, %+v", f.Token(), f.Loads())
			}
			write(t, path, "new\n")
			until(t, "the new token is there", func() bool { return f.Token() == "new" })
			until(t, "it is told", func() bool { return told.some("changed=true") })
			if f.Loads().Fault != nil {
				t.Errorf("%+v", f.Loads())
			}
		})
	}
}

// What was bad and is as it was is said; the same fault is said once, whatever is asked for is.
func TestFaultsAreSaidOnce(t *testing.T) {
	path := place(t, false, "old")
	var told notices
	w := quick(&told)
	w.Poll = 10 * time.Millisecond // looks again and again, and nothing is said
	f, err := NewStaticFile(path, w)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, path, "")
	until(t, "several looks", func() bool { return f.Loads().Failures > 3 })
	if told.len() != 1 || f.Loads().Fault == nil || f.Loads().Failed.IsZero() {
		t.Errorf("told %v; %+v", &told, f.Loads())
	}
	write(t, path, "old")
	until(t, "it is as it was", func() bool { return f.Loads().Fault == nil })
	until(t, "it is said", func() bool { return told.len() == 2 })
	if told.some("changed=true") {
		t.Errorf("told %v", &told)
	}
	f.Reload()
	until(t, "what was asked for is said", func() bool { return told.len() == 3 })
	if got := fmt.Sprint(told.all[2].Err); got != "<nil>" {
		t.Error(got)
	}
}
