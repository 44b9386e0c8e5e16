package router

import (
	"bufio"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// usableMemory is how many bytes this process may use: what the machine has, less what a control group, the limit of
// its address space or GOMEMLIMIT take from that. 0: not known.
func usableMemory() int64 {
	limits := []int64{debug.SetMemoryLimit(-1)}
	var as syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &as) == nil && as.Cur < math.MaxInt64 {
		limits = append(limits, int64(as.Cur))
	}
	return leastMemory(os.DirFS("/"), limits...)
}

// leastMemory is the least of what the machine with that root folder has, of what its control groups allow this
// process, and of limits. 0: not known; a limit of 0 or of the largest number is none.
func leastMemory(root fs.FS, limits ...int64) int64 {
	limits = append(limits, totalMemory(root))
	for line := range lines(root, "proc/self/cgroup") {
		// "0::/path" in version 2, "9:memory:/path" in version 1; a group is bound by those above it, too.
		_, rest, _ := strings.Cut(line, ":")
		controllers, group, _ := strings.Cut(rest, ":")
		base, file := "sys/fs/cgroup", "memory.max"
		if controllers == "memory" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if controllers != "" {
			continue
		}
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			limits = append(limits, number(root, path.Join(base, group, file)))
			if group == "/" {
				break
			}
		}
	}
	least := int64(math.MaxInt64)
	for _, n := range limits {
		if n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// totalMemory is MemTotal of proc/meminfo in bytes, 0 if it is not known.
func totalMemory(root fs.FS) int64 {
	for line := range lines(root, "proc/meminfo") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err == nil && kib < math.MaxInt64>>10 {
				return kib << 10
			}
		}
	}
	return 0
}

// number is what the file holds, 0 if that is no number ("max").
func number(root fs.FS, name string) int64 {
	for line := range lines(root, name) {
		n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		return n
	}
	return 0
}

// lines yields the lines of a file, none if it cannot be read.
func lines(root fs.FS, name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		f, err := root.Open(name)
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		for s := bufio.NewScanner(f); s.Scan() && yield(s.Text()); {
		}
	}
}

// A name takes some 700 bytes and as much again where peers are told of it, and garbage collection lets the heap grow
// to twice its size: nameMemory is what it costs the process, and names may take a quarter of the memory.
const (
	nameMemory = 1 << 10
	nameShare  = 4
	minNames   = 1 << 12
	nameBytes  = 128 // of strings for each name, on average
)

// namesFor is the default of Options.MaxNames for a process that may use that many bytes, 0 if that is not known.
func namesFor(memory int64) int {
	if memory == 0 {
		return DefaultMaxSubscriptions
	}
	return int(min(max(memory/nameShare/nameMemory, minNames), math.MaxInt32))
}
