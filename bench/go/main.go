// The benches in Go, for `openwork bench`: bench NAME PROCS SIZE.
// Each figure is a line `figure NAME UNIT VALUE` on standard output.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var programs = map[string]func(size int){
	"spawn_run":         spawnRun,
	"spawn_batch":       spawnBatch,
	"spawn_future":      spawnBatch,
	"spawn_join":        spawnJoin,
	"create":            create,
	"yield_alone":       yieldAlone,
	"yield_pair":        yieldPair,
	"pingpong":          pingpong,
	"chan_self":         chanSelf,
	"mpmc":              func(size int) { many(size, 4) },
	"mpsc":              func(size int) { many(size, 1) },
	"select":            selectOfTwo,
	"mutex_uncontended": func(size int) { mutex(size, 1) },
	"mutex_contended":   func(size int) { mutex(size, 8) },
	"skynet_10k":        skynet,
	"skynet_1m":         skynet,
	"parked":            parked,
	"unstarted":         unstarted,
	"timers_20k":        timers,
	"timers_100k":       timers,
	"timers_busy":       timersBusy,
	"echo_50":           echo,
	"echo_1000":         echo,
	"sha256":            hashes,
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: bench NAME PROCS SIZE")
	}
	program, known := programs[os.Args[1]]
	procs, errProcs := strconv.Atoi(os.Args[2])
	size, errSize := strconv.Atoi(os.Args[3])
	if !known || errProcs != nil || errSize != nil || procs < 1 || size < 1 {
		fail("no such bench, or no numbers")
	}
	runtime.GOMAXPROCS(procs)
	// Not on the main goroutine, which is bound to nothing else but is born with the process.
	done := make(chan struct{})
	go func() {
		program(size)
		close(done)
	}()
	<-done
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

func figure(name, unit string, value float64) {
	fmt.Printf("figure %s %s %g\n", name, unit, value)
}

// What all threads of this process have spent on processors.
func processCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

type stopwatch struct {
	wall time.Time
	cpu  time.Duration
}

func start() stopwatch {
	cpu := processCPU()
	return stopwatch{time.Now(), cpu}
}

func (watch stopwatch) perOp(ops int) {
	wall, cpu := time.Since(watch.wall), processCPU()-watch.cpu
	figure("time", "ns", float64(wall)/float64(ops))
	figure("cpu", "ns", float64(cpu)/float64(ops))
}

// Counts ends; the last one tells.
type countdown struct {
	left atomic.Int64
	all  chan struct{}
}

func newCountdown() *countdown {
	return &countdown{all: make(chan struct{}, 1)}
}

func (c *countdown) one() {
	if c.left.Add(-1) == 0 {
		c.all <- struct{}{}
	}
}

func spawnRun(size int) {
	c := newCountdown()
	watch := start()
	c.left.Store(int64(size))
	for i := 0; i < size; i++ {
		go c.one()
	}
	<-c.all
	watch.perOp(size)
}

const batch = 1000

func spawnBatch(size int) {
	c := newCountdown()
	one := func() {
		c.left.Store(batch)
		for i := 0; i < batch; i++ {
			go c.one()
		}
		<-c.all
	}
	one()
	watch := start()
	for i := 0; i < size/batch; i++ {
		one()
	}
	watch.perOp(size)
}

// One channel for all: the cheapest form of waiting for a goroutine's value.
func spawnJoin(size int) {
	value := make(chan int)
	sum := 0
	watch := start()
	for i := 0; i < size; i++ {
		go func() { value <- i }()
		sum += <-value
	}
	watch.perOp(size)
	check(sum == size*(size-1)/2)
}

func create(size int) {
	gate := make(chan struct{})
	here := make(chan struct{}, 1)
	var all sync.WaitGroup
	cold := make([]time.Duration, size)
	for i := range cold {
		all.Add(1)
		began := time.Now()
		go func() {
			here <- struct{}{}
			<-gate
			all.Done()
		}()
		<-here
		cold[i] = time.Since(began)
	}
	close(gate)
	all.Wait()
	value := make(chan int)
	warm := make([]time.Duration, size)
	for i := range warm {
		began := time.Now()
		go func() { value <- i }()
		<-value
		warm[i] = time.Since(began)
	}
	for name, values := range map[string][]time.Duration{"warm": warm, "cold": cold} {
		p50, p99, _ := percentiles(values)
		figure(name+"_p50", "ns", float64(p50))
		figure(name+"_p99", "ns", float64(p99))
	}
}

func percentiles(values []time.Duration) (p50, p99, max time.Duration) {
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	last := len(values) - 1
	return values[last*50/100], values[last*99/100], values[last]
}

func yieldAlone(size int) {
	watch := start()
	for i := 0; i < size; i++ {
		runtime.Gosched()
	}
	watch.perOp(size)
}

func yieldPair(size int) {
	var pair sync.WaitGroup
	watch := start()
	for i := 0; i < 2; i++ {
		pair.Add(1)
		go func() {
			for i := 0; i < size/2; i++ {
				runtime.Gosched()
			}
			pair.Done()
		}()
	}
	pair.Wait()
	watch.perOp(size)
}

func pingpong(size int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for i := range ping {
			pong <- i
		}
	}()
	watch := start()
	for i := 0; i < size; i++ {
		ping <- i
		<-pong
	}
	watch.perOp(size)
	close(ping)
}

func chanSelf(size int) {
	c := make(chan int, 16)
	watch := start()
	for i := 0; i < size; i++ {
		c <- i
		<-c
	}
	watch.perOp(size)
}

func many(size, receivers int) {
	const senders = 4
	c := make(chan int, 128)
	var sent, got sync.WaitGroup
	var received atomic.Int64
	watch := start()
	for i := 0; i < senders; i++ {
		sent.Add(1)
		go func() {
			for i := 0; i < size/senders; i++ {
				c <- i
			}
			sent.Done()
		}()
	}
	for i := 0; i < receivers; i++ {
		got.Add(1)
		go func() {
			count := 0
			for range c {
				count++
			}
			received.Add(int64(count))
			got.Done()
		}()
	}
	sent.Wait()
	close(c)
	got.Wait()
	watch.perOp(size)
	check(received.Load() == int64(size/senders*senders))
}

func selectOfTwo(size int) {
	a, b := make(chan int, 128), make(chan int, 128)
	watch := start()
	for _, to := range []chan int{a, b} {
		go func() {
			for i := 0; i < size/2; i++ {
				to <- i
			}
		}()
	}
	sum := 0
	for i := 0; i < size/2*2; i++ {
		select {
		case value := <-a:
			sum += value
		case value := <-b:
			sum += value
		}
	}
	watch.perOp(size)
	check(sum == size/2*(size/2-1))
}

func mutex(size, goroutines int) {
	var lock sync.Mutex
	var all sync.WaitGroup
	counter := 0
	watch := start()
	for i := 0; i < goroutines; i++ {
		all.Add(1)
		go func() {
			for i := 0; i < size/goroutines; i++ {
				lock.Lock()
				counter++
				lock.Unlock()
			}
			all.Done()
		}()
	}
	all.Wait()
	watch.perOp(size)
	check(counter == size/goroutines*goroutines)
}

func node(first, leaves int, up chan<- int) {
	if leaves == 1 {
		up <- first
		return
	}
	each := leaves / 10
	below := make(chan int, 10)
	for i := 0; i < 10; i++ {
		go node(first+i*each, each, below)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-below
	}
	up <- sum
}

func skynet(size int) {
	up := make(chan int, 1)
	watch := start()
	node(0, size, up)
	sum := <-up
	watch.perOp(size)
	check(sum == size*(size-1)/2)
}

// Resident memory and page tables of this process, in bytes.
func memory() (resident, tables float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err.Error())
	}
	field := func(name string) float64 {
		for _, line := range strings.Split(string(status), "\n") {
			if rest, found := strings.CutPrefix(line, name); found {
				kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
				if err == nil {
					return kib * 1024
				}
			}
		}
		return 0
	}
	return field("VmRSS:"), field("VmPTE:")
}

// What was added since the memory was read that is given here, and how long that took.
func held(size int, resident, tables float64) {
	residentNow, tablesNow := memory()
	figure("bytes", "B", (residentNow+tablesNow-resident-tables)/float64(size))
	figure("resident", "B", (residentNow-resident)/float64(size))
	figure("page_tables", "B", (tablesNow-tables)/float64(size))
}

func parked(size int) {
	gate := make(chan struct{})
	var arrived atomic.Int64
	var all sync.WaitGroup
	all.Add(size)
	resident, tables := memory()
	began := time.Now()
	for i := 0; i < size; i++ {
		go func() {
			arrived.Add(1)
			<-gate
			all.Done()
		}()
	}
	for arrived.Load() < int64(size) {
		time.Sleep(time.Millisecond)
	}
	spawning := time.Since(began)
	held(size, resident, tables)
	began = time.Now()
	close(gate)
	all.Wait()
	figure("total", "ms", (spawning+time.Since(began)).Seconds()*1e3)
}

// A spawner that computes may be preempted after 10 ms, and some goroutines begin. They end at once, so
// the figure errs in Go's favour.
func unstarted(size int) {
	var begun atomic.Int64
	resident, tables := memory()
	began := time.Now()
	for i := 0; i < size; i++ {
		go func() { begun.Add(1) }()
	}
	spawning := time.Since(began)
	held(size, resident, tables)
	figure("total", "ms", spawning.Seconds()*1e3)
}

func duration(index int) time.Duration {
	spread := uint64(index) * 0x9E3779B97F4A7C15 >> 32
	return time.Duration(1_000_000 + spread*99_000_000>>32)
}

func timers(size int) {
	late := make([]time.Duration, size)
	for i := range late {
		late[i] = -1
	}
	var all sync.WaitGroup
	all.Add(size)
	began := time.Now()
	for i := 0; i < size; i++ {
		go func() {
			began := time.Now()
			time.Sleep(duration(i))
			late[i] = time.Since(began) - duration(i)
			all.Done()
		}()
	}
	all.Wait()
	total := time.Since(began)
	p50, p99, max := percentiles(late)
	check(late[0] >= 0)
	figure("late_p50", "us", float64(p50)/1e3)
	figure("late_p99", "us", float64(p99)/1e3)
	figure("late_max", "us", float64(max)/1e3)
	figure("total", "ms", total.Seconds()*1e3)
}

func timersBusy(size int) {
	var stop atomic.Bool
	var hogs sync.WaitGroup
	for i := 0; i < 64; i++ {
		hogs.Add(1)
		go func() {
			for !stop.Load() {
				for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
				}
				runtime.Gosched()
			}
			hogs.Done()
		}()
	}
	timers(size)
	stop.Store(true)
	hogs.Wait()
}

// Serves until standard input closes. The client counts; this side tells what it spent.
func echo(int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	fmt.Printf("port %d\n", listener.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				buffer := make([]byte, 256)
				for {
					count, err := connection.Read(buffer)
					if err != nil {
						return
					}
					if _, err := connection.Write(buffer[:count]); err != nil {
						return
					}
				}
			}()
		}
	}()
	os.Stdin.Read(make([]byte, 1))
	figure("server_cpu", "ns", float64(processCPU()))
}

func hashes(size int) {
	procs := runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	watch := start()
	for part := 0; part < procs; part++ {
		all.Add(1)
		go func() {
			var header [80]byte
			binary.LittleEndian.PutUint64(header[:], uint64(part))
			for i := 0; i < size/procs; i++ {
				nonce := binary.LittleEndian.Uint64(header[72:])
				binary.LittleEndian.PutUint64(header[72:], nonce+1)
				once := sha256.Sum256(header[:])
				sha256.Sum256(once[:])
			}
			all.Done()
		}()
	}
	all.Wait()
	watch.perOp(size / procs * procs)
}

func check(holds bool) {
	if !holds {
		fmt.Fprintln(os.Stderr, "a value was lost")
		os.Exit(1)
	}
}
