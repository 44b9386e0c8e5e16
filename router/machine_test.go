package router

import (
	"testing"
	"testing/fstest"
)

func TestMemoryThatTheProcessMayUse(t *testing.T) {
	const meminfo = "MemTotal:       16384 kB\nMemFree:         1024 kB\n"
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, tc := range []struct {
		rule   string
		files  fstest.MapFS
		limits []int64
		want   int64
	}{
		{"nothing is known", fstest.MapFS{}, nil, 0},
		{"the machine", fstest.MapFS{"proc/meminfo": file(meminfo)}, nil, 16 << 20},
		{"nonsense", fstest.MapFS{"proc/meminfo": file("MemTotal: lots kB\n"),
			"proc/self/cgroup": file("\n:\n0::\nx")}, nil, 0},
		{"a limit below it", fstest.MapFS{"proc/meminfo": file(meminfo)}, []int64{1<<63 - 1, 0, 9 << 20}, 9 << 20},
		{"a limit above it", fstest.MapFS{"proc/meminfo": file(meminfo)}, []int64{99 << 20}, 16 << 20},
		{"control group, version 2", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("5242880\n"), "sys/fs/cgroup/a/memory.max": file("max\n")}, nil, 5 << 20},
		{"a group above it", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("4194304\n")}, nil, 4 << 20},
		{"as a container sees its own", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("3145728\n")}, nil, 3 << 20},
		{"a path that leads out", fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file("0::/../../x\n"),
			"sys/fs/cgroup/memory.max": file("3145728\n")}, nil, 3 << 20},
		{"control group, version 1", fstest.MapFS{"proc/meminfo": file(meminfo),
			"proc/self/cgroup": file("5:cpu:/c\n9:memory:/m\n"),
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": file("2097152\n"),
			"sys/fs/cgroup/c/memory.max":                   file("1\n")}, nil, 2 << 20},
		{"version 1 without a limit", fstest.MapFS{"proc/meminfo": file(meminfo),
			"proc/self/cgroup":                           file("9:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, nil, 16 << 20},
	} {
		if got := leastMemory(tc.files, tc.limits...); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.rule, got, tc.want)
		}
	}
	if n := usableMemory(); n < 0 {
		t.Errorf("this machine has %d bytes", n)
	}
}

func TestNamesForAMachine(t *testing.T) {
	for _, tc := range []struct {
		memory int64
		want   int
	}{{0, DefaultMaxSubscriptions}, {1 << 20, minNames}, {1 << 30, 1 << 18}, {3 << 30, 3 << 18}, {1 << 62, 1<<31 - 1}} {
		if got := namesFor(tc.memory); got != tc.want {
			t.Errorf("%d bytes: %d names, want %d", tc.memory, got, tc.want)
		}
	}
	o := Options{Listen: []string{"127.0.0.1:0"}, MaxNames: 101}
	if err := o.fill(); err != nil || o.MaxSubscriptions != 51 || o.MaxNameBytes != 101*nameBytes {
		t.Errorf("of 101 names one connection may hold %d, with %d bytes (%v); want half of them",
			o.MaxSubscriptions, o.MaxNameBytes, err)
	}
}
