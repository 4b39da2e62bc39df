package kafkatest

import "syscall"

// dieWithOwner has the kernel kill the broker when the thread that started it
// ends. A group of its own keeps the terminal's Ctrl-C from it: its owner
// decides when it ends.
func dieWithOwner() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
