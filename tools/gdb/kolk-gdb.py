# kolk-gdb.py - gdb commands for programs with kolk's tasks.
#
# SPDX-License-Identifier: MIT
#
#     (gdb) source tools/gdb/kolk-gdb.py
#     (gdb) kolk tasks            every task, and what it waits for
#     (gdb) kolk bt [NAME]        where each one stands, or those called NAME
#     (gdb) kolk task NAME        go there: `bt`, `up`, `info locals`...
#     (gdb) kolk task             and back
#     (gdb) kolk loop EXPRESSION  look at a loop that no thread runs, too
#
# For live processes and the kernel's core files, on x86-64 and aarch64. (A
# core file that gdb writes lacks the stacks: gdb gives up at their guards.) It
# reads the library's own structs, so that needs debug information (-g).
#
# Nothing of the process is written. A coroutine that waits has left its stack
# pointer, program counter and frame pointer in a kolk__place; an unwinder says
# that these belong to the caller of the thread's newest frame. From there on
# gdb's ordinary unwinding takes over. So the frames of a task are numbered
# from 1; frame 0 remains the thread's own.

import contextlib

import gdb
import gdb.unwinder

REGISTERS = {  # of each architecture, in the order of a kolk__place
    "i386:x86-64": ("rsp", "rip", "rbp"),
    "aarch64": ("sp", "pc", "x29"),
}

FRAME_ID_GAP = 16  # frame 0 has to seem newer than those of the task


class _FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class TaskUnwinder(gdb.unwinder.Unwinder):
    """Lets the newest frame of the selected thread return into a task."""

    def __init__(self):
        super().__init__("kolk")
        self.place = None  # (sp, pc, fp) of the task
        self.newest = None  # (sp, pc) of the frame to claim

    def __call__(self, pending):
        if self.place is None:
            return None
        names = REGISTERS[pending.architecture().name()]
        newest = [pending.read_register(name) for name in names]
        if self.newest != (int(newest[0]), int(newest[1])):
            return None
        sp = gdb.Value(self.place[0] - FRAME_ID_GAP).cast(newest[0].type)
        frame_id = _FrameId(sp, newest[1])
        info = pending.create_unwind_info(frame_id)
        for name, old, new in zip(names, newest, self.place):
            info.add_saved_register(name, gdb.Value(new).cast(old.type))
        return info

    def enter(self, place):
        self.leave()
        frame = gdb.newest_frame()
        names = registers_of(frame)
        self.newest = tuple(int(frame.read_register(n)) for n in names[:2])
        self.place = place
        gdb.invalidate_cached_frames()

    def leave(self):
        if self.place is not None:
            self.place = None
            gdb.invalidate_cached_frames()


def registers_of(frame):
    name = frame.architecture().name()
    if name not in REGISTERS:
        raise gdb.GdbError("kolk runs on x86-64 and aarch64, not on " + name)
    return REGISTERS[name]


class Task:
    """A kolk__coro of the process."""

    def __init__(self, loop, coro):
        self.loop = loop
        self.coro = coro
        self.name = coro["name"].string() or "task-%d" % int(coro["id"])
        self.is_running = loop["current"] == coro.address

    def describe(self):
        if self.is_running:
            state = "running"
        elif bool(self.coro["is_parked"]):
            state = "waiting for " + self.coro["reason"].string()
        else:
            state = "ready"
        site = self.coro["site"].string()
        mark = "*" if self.is_running else " "
        return "%s %s: %s, spawned at %s" % (mark, self.name, state, site)

    def place(self):
        pointer = gdb.lookup_type("kolk__place").pointer()
        place = self.coro["sp"].cast(pointer).dereference()
        return tuple(int(place[field]) for field in ("sp", "pc", "fp"))

    def has_started(self):
        return self.place()[1] != int(gdb.parse_and_eval("&kolk__switch_start"))

    def thread(self):
        """The thread that it runs in; for a running one only."""
        return threads_of_loops().get(int(self.loop.address))


# ---- finding them ----

added_loops = []  # addresses, by `kolk loop`


@contextlib.contextmanager
def selection_kept():
    """The thread and the frame stay selected that were."""
    thread = gdb.selected_thread()
    frame = gdb.selected_frame() if thread is not None else None
    try:
        yield
    finally:
        if thread is not None and thread.is_valid():
            thread.switch()
            if frame is not None and frame.is_valid():
                frame.select()


def threads_of_loops():
    """The address of each loop that runs, and its thread."""
    found = {}
    with selection_kept():
        for thread in reversed(gdb.selected_inferior().threads()):
            thread.switch()
            try:
                loop = gdb.parse_and_eval("kolk__this_thread")["loop"]
            except gdb.error:
                continue  # a thread so young that it has no such variable
            if int(loop) != 0:
                found[int(loop)] = thread
    return found


def loop_at(address):
    pointer = gdb.lookup_type("struct kolk_loop").pointer()
    return gdb.Value(address).cast(pointer).dereference()


def offset_of(type_, field):
    return type_[field].bitpos // 8


def tasks_of(loop):
    """The tasks of a loop, oldest first."""
    if int(loop["task_state"]) == 0:
        return
    type_ = gdb.lookup_type("struct kolk__coro")
    head = loop["task_state"]["all"]
    link = head["next"]
    while int(link) not in (0, int(head.address)):
        address = int(link) - offset_of(type_, "all")
        coro = gdb.Value(address).cast(type_.pointer()).dereference()
        yield Task(loop, coro)
        link = link["next"]


def all_tasks():
    try:
        gdb.lookup_type("struct kolk__coro")
    except gdb.error:
        raise gdb.GdbError("no debug information of kolk in this program")
    if gdb.selected_thread() is None:
        raise gdb.GdbError("no process and no core file")
    addresses = list(threads_of_loops())
    addresses += [a for a in added_loops if a not in addresses]
    return [task for a in addresses for task in tasks_of(loop_at(a))]


def tasks_named(name):
    tasks = [task for task in all_tasks() if task.name == name]
    if not tasks:
        raise gdb.GdbError('no task is called "%s"' % name)
    return tasks


# ---- commands ----

unwinder = TaskUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def forget_task(_event):
    unwinder.leave()


gdb.events.cont.connect(forget_task)


def frames_of_task(task):
    """What `backtrace` prints, without the thread's own frame."""
    unwinder.enter(task.place())
    try:
        text = gdb.execute("backtrace", to_string=True)
    finally:
        unwinder.leave()
    at = text.find("#1 ")
    return text[at:] if at >= 0 else text


def print_backtrace(task):
    print(task.describe())
    if task.is_running:
        thread = task.thread()
        if thread is None:
            print("#0  in one of the threads")
            return
        thread.switch()
        gdb.newest_frame().select()
        gdb.execute("backtrace")
    elif not task.has_started():
        print("#1  not started: " + str(task.coro["fn"]))
    else:
        print(frames_of_task(task), end="")


class KolkCommand(gdb.Command):
    """Looking at the tasks of kolk."""

    def __init__(self):
        super().__init__("kolk", gdb.COMMAND_STACK, prefix=True)


class KolkTasks(gdb.Command):
    """List every task: kolk tasks

A star stands before the one that runs."""

    def __init__(self):
        super().__init__("kolk tasks", gdb.COMMAND_STACK)

    def invoke(self, _argument, _from_tty):
        unwinder.leave()
        tasks = all_tasks()
        for task in tasks:
            print(task.describe())
        if not tasks:
            print("No tasks.")


class KolkBacktrace(gdb.Command):
    """Print where tasks stand: kolk bt [NAME]

Of every task, or of those called NAME."""

    def __init__(self):
        super().__init__("kolk bt", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        unwinder.leave()
        tasks = tasks_named(argument) if argument else all_tasks()
        with selection_kept():
            for task in tasks:
                print_backtrace(task)
                print()


class KolkTask(gdb.Command):
    """Go to where a task stands: kolk task [NAME]

Without a name, go back to the thread."""

    def __init__(self):
        super().__init__("kolk task", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        unwinder.leave()
        if not argument:
            gdb.execute("frame 0")
            return
        task = tasks_named(argument)[0]
        if task.is_running:
            thread = task.thread()
            if thread is not None:
                thread.switch()
            gdb.execute("frame 0")
        else:
            unwinder.enter(task.place())
            gdb.execute("frame 1")


class KolkLoop(gdb.Command):
    """Look at the tasks of one more loop: kolk loop EXPRESSION

For a kolk_loop that no thread runs at present; the others are found."""

    def __init__(self):
        super().__init__("kolk loop", gdb.COMMAND_STACK, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, _from_tty):
        address = int(gdb.parse_and_eval(argument))
        if address not in added_loops:
            added_loops.append(address)


KolkCommand()
KolkTasks()
KolkBacktrace()
KolkTask()
KolkLoop()
