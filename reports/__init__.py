"""One run or one comparison -> one self-contained HTML page. Pure presentation: plain records in, text out."""

from reports.page import comparison_page, run_page

__all__ = ["comparison_page", "run_page"]
