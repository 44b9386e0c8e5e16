package netloop

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unixScheme begins an endpoint that is a unix socket: unix://PATH, or unix://PATH?mode=0660. Rules: P-conf-23.
const unixScheme = "unix://"

const (
	maxUnixPath = 107     // bytes that the kernel has for a path, less the zero at its end
	unixBacklog = 4 << 10 // a client that finds it full fails at once: it is no queue for those who wait
)

// SplitUnix takes an endpoint unix://PATH apart. A query or fragment does not belong to the path; of the query `mode`
// is read, the file's permissions in octal. mode is 0 if it is not given: then the process's umask decides.
func SplitUnix(endpoint string) (path string, mode fs.FileMode, err error) {
	path, _, _ = strings.Cut(strings.TrimPrefix(endpoint, unixScheme), "#")
	path, query, _ := strings.Cut(path, "?")
	switch {
	case path == "":
		return "", 0, errors.New("the path of the unix socket is missing: write it as unix:///run/slim.sock")
	case len(path) > maxUnixPath:
		return "", 0, fmt.Errorf("the path of the unix socket has %d bytes: the kernel takes %d", len(path), maxUnixPath)
	case strings.IndexByte(path, 0) >= 0:
		return "", 0, errors.New("the path of the unix socket holds a zero byte")
	}
	for part := range strings.SplitSeq(query, "&") {
		value, ok := strings.CutPrefix(part, "mode=")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value, 8, 32)
		if err != nil || n == 0 || n > 0o777 {
			return "", 0, fmt.Errorf("mode %q of the unix socket is no permission: write it in octal, such as mode=0660", value)
		}
		mode = fs.FileMode(n)
	}
	return path, mode, nil
}

// socketFile is the file of a unix socket of ours.
type socketFile struct {
	path string
	made unix.Stat_t
	mode fs.FileMode // that was asked for; 0: none
}

// remove removes the file, unless somebody has put another in its place. The socket still listens: nobody can have
// taken the file for one that was left behind.
func (f *socketFile) remove() {
	if f.ours() {
		_ = os.Remove(f.path)
	}
}

// ours reports whether the file is still the one that was made.
func (f *socketFile) ours() bool {
	var st unix.Stat_t
	return unix.Lstat(f.path, &st) == nil && st.Dev == f.made.Dev && st.Ino == f.made.Ino &&
		st.Mode&unix.S_IFMT == unix.S_IFSOCK // a file may have the number of one that was removed
}

// Chmod gives the file of a unix socket the permissions that SplitUnix returns: 0 for those that it had when it was made.
// It does nothing on TCP, nor if the file is another's.
func (l *Listener) Chmod(mode fs.FileMode) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	l.file.mode = mode
	if !l.file.ours() {
		return nil
	}
	if mode == 0 {
		mode = fs.FileMode(l.file.made.Mode & 0o777)
	}
	return os.Chmod(l.file.path, mode)
}

// Lost says why nobody can connect to a unix socket whose file was removed or replaced; "": it is well. Safe for all.
func (l *Listener) Lost() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// guardFile looks at the file of a unix socket every interval until l is closed, and makes it anew if somebody has removed
// it. told hears of that, with nil, and of each reason why it cannot be made.
func (l *Listener) guardFile(interval time.Duration, told func(error)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-l.closed:
			return
		case <-t.C:
		}
		before := l.Lost()
		anew, err := l.mend()
		switch after := l.Lost(); {
		case anew:
			told(nil)
		case err != nil && after != before:
			told(err)
		}
	}
}

// mend listens anew, as at the start, if the file of a unix socket is not there any more or another's.
func (l *Listener) mend() (anew bool, err error) {
	l.mu.Lock()
	file := l.file
	l.mu.Unlock()
	if file.ours() {
		l.mu.Lock()
		l.lost = "" // somebody has moved it back
		l.mu.Unlock()
		return false, nil
	}
	fd, fresh, err := openUnix(file.path, file.mode)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		err = fmt.Errorf("its file was removed or replaced, and cannot be made again: %w%s", err, unixHint(err))
		l.lost = err.Error()
		return false, err
	case l.isClosed():
		fresh.remove()
		_ = unix.Close(fd)
		return false, nil
	}
	if l.old != nil { // whose backlog nobody has come to yet
		_ = l.old.Close()
	}
	l.old, l.f, l.file, l.lost = l.f, os.NewFile(uintptr(fd), "listener"), fresh, ""
	_ = l.old.SetReadDeadline(time.Unix(1, 0)) // whoever waits there goes on with f
	return true, nil
}

// listenUnix listens on the unix socket of an endpoint. A file that a process has left behind is replaced; one on which
// somebody listens is not, nor one that is no socket.
func listenUnix(endpoint string) (*Listener, error) {
	path, mode, err := SplitUnix(endpoint)
	if err != nil {
		return nil, err
	}
	fd, file, err := openUnix(path, mode)
	if err != nil {
		return nil, err
	}
	return &Listener{f: os.NewFile(uintptr(fd), "listener"), addr: &net.UnixAddr{Name: path, Net: "unix"}, file: file,
		closed: make(chan struct{})}, nil
}

// openUnix listens at a path, on a high descriptor.
func openUnix(path string, mode fs.FileMode) (fd int, file *socketFile, err error) {
	defer lockFolder(filepath.Dir(path))()
	if err := clearPath(path); err != nil {
		return -1, nil, err
	}
	low, file, err := bindUnix(path, mode)
	if err != nil {
		return -1, nil, err
	}
	defer func() { _ = unix.Close(low) }()
	high, err := raise(low)
	if err != nil {
		file.remove()
		return -1, nil, err
	}
	return high, file, nil
}

// bindUnix makes the socket and its file. Nobody can connect before the file has its mode: until listen the kernel
// refuses.
func bindUnix(path string, mode fs.FileMode) (fd int, f *socketFile, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	made := fd // what is returned after an error is none
	defer func() {
		if err == nil {
			return
		}
		if f != nil {
			f.remove()
		}
		_ = unix.Close(made)
	}()
	if err := unix.Bind(fd, address(path)); err != nil {
		return -1, nil, os.NewSyscallError("bind", err)
	}
	f = &socketFile{path: path, mode: mode}
	if err = unix.Lstat(path, &f.made); err != nil {
		return -1, f, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	if mode != 0 {
		if err = os.Chmod(path, mode); err != nil {
			return -1, f, err
		}
	}
	if err = unix.Listen(fd, unixBacklog); err != nil {
		return -1, f, os.NewSyscallError("listen", err)
	}
	return fd, f, nil
}

// address names a file; what begins with @ would name none.
func address(path string) *unix.SockaddrUnix {
	if path[0] == '@' {
		path = "./" + path
	}
	return &unix.SockaddrUnix{Name: path}
}

// errListens is a unix socket that is in use.
var errListens = fmt.Errorf("%w: somebody listens on this unix socket", syscall.EADDRINUSE)

// clearPath makes way for a socket at path.
func clearPath(path string) error {
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket: it is not replaced: remove it, or choose another path", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	switch err := unix.Connect(fd, address(path)); {
	case errors.Is(err, unix.ECONNREFUSED): // nobody has it any more
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case errors.Is(err, unix.ENOENT):
		return nil
	case err == nil, errors.Is(err, unix.EAGAIN): // EAGAIN: its backlog is full
		return errListens
	default:
		return fmt.Errorf("cannot tell whether somebody listens on %s, which exists: %w", path, err)
	}
}

// lockFolder keeps another process of this program from looking at a socket file, too, and removing the one that is
// made next. A folder that cannot be locked is used without.
func lockFolder(dir string) (unlock func()) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	for range folderTries {
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return func() { _ = unix.Close(fd) }
}

// folderTries is how often a folder is tried to be locked: whoever else locks it for longer is not one of us. Tests
// change it.
var folderTries = 50

// unixHint says what to do about a unix socket that cannot be listened on.
func unixHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (stop it or choose another path)"
	case errors.Is(err, fs.ErrNotExist):
		return " (make the folder first)"
	case errors.Is(err, fs.ErrPermission):
		return " (the folder is not this user's to write)"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return " (raise the limit of open files)"
	}
	return ""
}

// peerOf says who is at the other end of a unix socket.
func peerOf(fd int) string {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return "unix"
	}
	return fmt.Sprintf("unix:pid=%d,uid=%d", c.Pid, c.Uid)
}

// isUnix reports whether fd is a unix socket.
func isUnix(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}

// backlog is what the peer of a unix socket has not read. The kernel tells the memory of it and not the bytes: each
// write makes buffers of its own, of 768 bytes at least, and a buffer is freed when the last byte of it is read. So the
// bytes are estimated: what has been freed held as many of them as the rest of the memory.
type backlog struct {
	written uint64 // bytes that the kernel had taken, at the last look
	memory  int    // that the rest took then
	bytes   int    // of the rest; never above memory
}

// look takes in how many bytes the kernel has taken since the start, and the memory of what has not been read, and
// returns how many bytes that are. Not 1, which would be a FIN of TCP.
func (b *backlog) look(written uint64, memory int) int {
	fresh := int(written - b.written)
	all, most := b.bytes+fresh, b.memory+fresh // if nothing had been read; a byte takes one byte of memory at least
	if memory < most {
		all = int(int64(all) * int64(memory) / int64(most))
	}
	if memory > 0 {
		all = min(max(all, 2), memory)
	}
	b.written, b.memory, b.bytes = written, memory, all
	return all
}

// unixPiece is how much of what it reads the peer of a unix socket keeps from being noticed, in bytes: a buffer holds
// up to some 36 KiB of one write.
const unixPiece = 64 << 10
