package devstack

import "syscall"

// dieWithOwner has the kernel kill a child when the thread that started it
// ends, which is why a supervisor keeps its thread.
func dieWithOwner() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
