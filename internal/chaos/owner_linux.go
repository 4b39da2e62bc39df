package chaos

import "syscall"

// dieWithOwner ends a child with this process, however that ends, and keeps the
// terminal's Ctrl-C from it.
func dieWithOwner() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
