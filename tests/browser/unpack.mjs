// Lay out the Chromium of the package in $TMPDIR, with the libraries that a slim system may lack.
import chromium from "@sparticuz/chromium";

process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs20.x"; // where they are always needed
console.log(await chromium.executablePath());
