"""Errors that no caller can be told: the exception handler."""

import sys
import traceback
from asyncio import base_events, format_helpers

# Since 3.12 a handler runs in the context of what failed.
_HANDLER_HAS_CONTEXT = sys.version_info >= (3, 12)
# Since 3.14 (and late patch versions before it) a callback's arguments are
# left out of messages unless debug mode is on.
_FORMAT_TAKES_DEBUG = (
    "debug" in format_helpers._format_callback_source.__code__.co_varnames)


def _context_of(report):
    """The context variables of what a report is about, or None."""
    for key in ("task", "future", "handle"):
        thing = report.get(key)
        if thing is not None:
            context = (thing.get_context() if hasattr(thing, "get_context")
                       else None)
            return context if hasattr(context, "run") else None
    return None


class ReportsMixin:
    __slots__ = ()

    def _init_reports(self):
        self._exception_handler = None

    def get_exception_handler(self):
        """The exception handler, or None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler):
        """Let handler(loop, context) hear of errors; None: the default."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, "
                            f"got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context):
        """Write a report to asyncio's log."""
        error = context.get("exception")
        if ("source_traceback" not in context
                and self._current_handle is not None
                and self._current_handle._source_traceback):
            context["handle_traceback"] = (
                self._current_handle._source_traceback)
        lines = [context.get("message") or
                 "Unhandled exception in event loop"]
        for key in sorted(context):
            if key in {"message", "exception"}:
                continue
            lines.append(f"{key}: {_describe(key, context[key])}")
        exc_info = (False if error is None
                    else (type(error), error, error.__traceback__))
        base_events.logger.error("\n".join(lines), exc_info=exc_info)

    def call_exception_handler(self, context):
        """Report an error: hand `context` to the exception handler."""
        if self._exception_handler is None:
            try:
                self.default_exception_handler(context)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                base_events.logger.error(
                    "Exception in default exception handler", exc_info=True)
            return
        try:
            self._call_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report_handler(error, context)

    def _call_handler(self, context):
        variables = _context_of(context) if _HANDLER_HAS_CONTEXT else None
        if variables is not None:
            variables.run(self._exception_handler, self, context)
        else:
            self._exception_handler(self, context)

    def _report_handler(self, error, context):
        """The program's own handler has failed."""
        try:
            self.default_exception_handler({
                "message": "Unhandled error in exception handler",
                "exception": error,
                "context": context,
            })
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            base_events.logger.error(
                "Exception in default exception handler "
                "while handling an unexpected error "
                "in custom exception handler", exc_info=True)

    def _handle_failed(self, handle, error):
        """A callback has raised `error`."""
        keywords = {"debug": self.get_debug()} if _FORMAT_TAKES_DEBUG else {}
        callback = format_helpers._format_callback_source(
            handle._callback, handle._args, **keywords)
        context = {
            "message": f"Exception in callback {callback}",
            "exception": error,
            "handle": handle,
        }
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)


def _describe(key, value):
    if key == "source_traceback":
        title = "Object created at (most recent call last):\n"
    elif key == "handle_traceback":
        title = "Handle created at (most recent call last):\n"
    else:
        return repr(value)
    return title + "".join(traceback.format_list(value)).rstrip()
