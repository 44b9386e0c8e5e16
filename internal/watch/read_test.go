package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(file, 4); string(b) != "text" || err != nil {
		t.Errorf("a file: %q, %v", b, err)
	}
	if _, err := Read(file, 3); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "none"), 4); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), dir) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(dir, 4); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a folder: %v", err)
	}
	if b, err := Read(pipe, 4); len(b) > 0 || err != nil {
		t.Errorf("a pipe that nobody writes to: %q, %v", b, err)
	}
	// Whoever writes holds the pipe open both ways until it is read, so that no end comes too early.
	w, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	const limit = 50 * time.Millisecond
	begun := time.Now()
	if _, err := read(pipe, 4, limit); err == nil || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("a pipe that is held open: %v", err)
	}
	if took := time.Since(begun); took < limit {
		t.Errorf("it is given up after %v", took)
	}
	_ = w.Close()
}
