package watch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// pipeLimit is how long a pipe is waited for.
const pipeLimit = 5 * time.Second

// Open opens a file to read it, and waits for nobody where it is a pipe.
func Open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to does not open otherwise
}

// Read reads a file of at most most bytes. It may be a pipe, which is waited for no longer than five seconds, whoever holds
// its other end. What is wrong is said without the path.
func Read(path string, most int) ([]byte, error) { return read(path, most, pipeLimit) }

// read is Read where a pipe is waited for no longer than limit.
func read(path string, most int, limit time.Duration) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		_ = f.SetReadDeadline(time.Now().Add(limit)) // a folder has none, and says what it is
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("this pipe is not complete after %v: somebody holds its other end and does not close it", limit)
	case err != nil:
		return nil, cause(err)
	case len(b) > most:
		size, unit := most>>10, "KiB"
		if most >= 1<<20 {
			size, unit = most>>20, "MiB"
		}
		return nil, fmt.Errorf("larger than %d %s", size, unit)
	}
	return b, nil
}

func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
